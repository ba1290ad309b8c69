"""May a model version be promoted? What it was trained on, against what was released before.

A promotion is ``held`` as long as anything about the training data is not known, was not delivered
by nbgov, is stale, or differs from the last release in a way that the policy holds. A person's
consent releases it: nbgov's own record, bound to one model version, its files, its lineage and what
it was compared with, so that it releases nothing else. Nothing here knows a clock or a store;
``docs/concepts/promotion.md`` says why each rule is there. Cases: ``tests/core/test_promotion.py``.
"""

from nbgov.core.promotion.binding import lineage_digest
from nbgov.core.promotion.consent import about
from nbgov.core.promotion.judgement import choose_basis, weigh
from nbgov.core.promotion.values import Promotion

__all__ = ["Promotion", "about", "choose_basis", "lineage_digest", "weigh"]
