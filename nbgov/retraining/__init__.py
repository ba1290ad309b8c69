"""Why a retrained model is different: compare, tell, replay and watch.

:func:`compare` takes whatever people hold: runs, model versions, dataset versions, files, frames.
The verdict itself is :func:`nbgov.core.drift.compare`; here its two sides are found, its report is
told in a terminal and on a page, a training is replayed with one thing put back at a time, and a
dataset is watched. Surfaces translate to and from this room; nothing here prints.
"""

from nbgov.retraining.comparing import compare

__all__ = ["compare"]
