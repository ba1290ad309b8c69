"""The public names: what ``import nbgov`` offers, and that it offers nothing by accident."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
from pathlib import Path

import pytest

import nbgov
from nbgov import errors

ROOT = Path(__file__).resolve().parents[1]


def test_all_names_exist_once_in_order():
    """``nbgov.__all__`` is sorted, has no name twice, and every name resolves."""
    assert list(nbgov.__all__) == sorted(set(nbgov.__all__))
    assert not [name for name in nbgov.__all__ if not hasattr(nbgov, name)]


def test_every_error_is_public():
    """Whatever nbgov raises on purpose can be caught by a public name."""
    kinds = {name for name, item in vars(errors).items() if inspect.isclass(item)}
    assert {"NbgovError", "Denied"} <= kinds <= set(nbgov.__all__)


def test_dir_lists_what_loads_lazily():
    """``dir(nbgov)`` lists every public name, loaded or not."""
    assert set(nbgov.__all__) <= set(dir(nbgov))


def test_an_unknown_name_is_an_attribute_error():
    """A name that is not public fails as on any module."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = nbgov.no_such_name


def test_the_version_is_that_of_the_distribution():
    """``nbgov.__version__`` is the installed distribution's."""
    assert nbgov.__version__ == importlib.metadata.version("nbgov")


@pytest.mark.parametrize("name", nbgov.__all__)
def test_a_public_name_is_documented(name):
    """Every public class and function has a docstring of its own."""
    item = getattr(nbgov, name)
    if inspect.isclass(item) or inspect.isfunction(item):
        assert item.__doc__
        assert not item.__doc__.startswith(f"{name}(")  # the one that dataclass makes up


def test_entry_points_load():
    """Every entry point of this distribution loads, and MLflow's groups and ours are among them."""
    importlib.import_module("mlflow.data")  # MLflow loads its plugins from here, itself first.
    points = importlib.metadata.distribution("nbgov").entry_points
    assert {"console_scripts", "mlflow.dataset_source", "nbgov.backends"} <= points.groups
    assert all(point.load() for point in points)


def test_both_packages_are_typed():
    """Both packages carry a py.typed marker, so that type checkers read their annotations."""
    assert (ROOT / "nbgov/py.typed").is_file()
    assert (ROOT / "mlflow_plugin/py.typed").is_file()
