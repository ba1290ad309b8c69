"""How the lineage page looks, beside what all pages share."""

STYLE = """
.drifted { color: var(--warn); } .stable { color: var(--good); }
.baseline { color: var(--calm); } .unknown { color: var(--soft); }
ol.causes { list-style: none; margin: 0; padding: 0; }
.cause { display: flex; gap: 6px 18px; flex-wrap: wrap; align-items: center;
  border-bottom: 1px solid var(--line); padding: 8px 0; }
.cause .what { flex: 1 1 320px; min-width: 0; overflow-wrap: anywhere; display: grid;
  grid-template-columns: 92px minmax(0, 1fr); align-items: baseline; }
.cause .size { flex: 0 0 150px; color: var(--soft); font-size: 12px; }
.cause .drawn { flex: 0 0 190px; }
.kind { color: var(--soft); font-size: 12px; }
.legend span { margin-right: 14px; } .legend i { display: inline-block; width: 14px; height: 9px;
  margin-right: 5px; } .legend .then { background: var(--then); }
.legend .now { border: 2px solid var(--warn); }
svg.graph { min-width: 720px; } svg.bar { width: 90px; } svg.plot { width: 190px; }
svg rect.node { fill: var(--card); stroke: var(--line); }
svg rect.run, svg rect.model { stroke: var(--calm); stroke-width: 1.5; }
svg rect.stranger { stroke: var(--warn); stroke-dasharray: 4 3; }
.graph path { fill: none; stroke: var(--soft); stroke-width: 1.3; }
.graph path.unsure { stroke-dasharray: 4 4; }
svg rect.bar { fill: var(--warn); } svg rect.track { fill: var(--card); stroke: var(--line); }
.plot path.then, .plot rect.then { fill: var(--then); }
.plot path.now { fill: none; stroke: var(--warn); stroke-width: 1.6; }
.plot rect.now { fill: var(--warn); }
"""
