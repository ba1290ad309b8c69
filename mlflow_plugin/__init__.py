"""Shows governed inputs on the run pages of a stock MLflow: translation, no decisions.

MLflow loads ``context``, ``headers``, ``source`` and ``dataset`` while it is itself half imported,
and catches nothing but ImportError and AttributeError. So those four import MLflow's abstract
classes and no more; everything else here is imported when it is used. ``runs`` is the other
direction: nbgov's port to MLflow.
"""
