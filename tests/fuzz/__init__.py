"""Texts that nobody wrote: no text ends the process, and no read is refused as a write.

``python -m tests.fuzz --seconds N`` lets atheris look for new paths; ``test_fuzz.py`` asks
Hypothesis for a few hundred texts with every run of the suite.
"""
