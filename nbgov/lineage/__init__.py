"""The lineage of a model, told: traced from the stores, as a page, as events, as a signed bundle.

What a lineage is, and how it is written down, is :mod:`nbgov.core.lineage`; what a bundle states
and when it adds up is :mod:`nbgov.core.custody`. Here both meet stores, keys, files and readers.
"""
