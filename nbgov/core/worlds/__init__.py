"""Two worlds that differ in masked values only, and statements that try to tell them apart.

Whoever may not see a column must find no difference between the worlds: in rows, their order,
headers, types, counts, masks, versions or error text. :func:`statement` writes statements over any
catalog, :func:`script` the SQL that builds a world, and :func:`differences` says what somebody who
sees both could notice. Chance is passed in, so that a run can be had again from its seed. What
equal worlds prove, and what not, is said in ``docs/concepts/non-interference.md``.
"""

from nbgov.core.worlds.grammar import statement
from nbgov.core.worlds.observation import Observation, differences
from nbgov.core.worlds.schema import Script, script

__all__ = ["Observation", "Script", "differences", "script", "statement"]
