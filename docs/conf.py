"""How Sphinx builds the documentation; `make docs` runs it with warnings as errors."""

from __future__ import annotations

from importlib import metadata

project = "nbgov"
author = "The nbgov authors"
release = metadata.version("nbgov")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
exclude_patterns = ["build"]
html_theme = "furo"
html_title = f"nbgov {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True

# The build has no network, hence no inventory of other projects to link into; what is not public
# has no page; and a bare name in an annotation was imported for type checkers only.
nitpick_ignore_regex = [
    ("py:.*", r"(collections|datetime|pathlib|typing)\..*"),
    ("py:.*", r"(IPython|numpy|pandas|pd|pl|polars|pa|pyarrow)\..*"),
    ("py:.*", r"nbgov\.(core|errors|model|notebook|pipeline|session)\b.*"),
    ("py:data", r"CODES"),  # errors.md is its page.
    ("py:class", r"[A-Z]\w*(\[\w+)?"),
    ("py:class", r"tuple\[(~nbgov\.|str).*"),  # A signature with a factory is split at its commas.
    ("py:class", r".* .*"),  # Napoleon takes prose before a colon for a type.
]
