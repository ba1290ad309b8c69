"""The page ``nbgov/lineage.html`` on a run: answers to a reader's questions, in one file.

MLflow shows it in a sandboxed frame, so it needs nothing from outside and links nowhere. It is made
from the record alone, see :func:`mlflow_plugin.verdict.record_of`; nothing is decided here.
Cases: ``tests/surfaces/test_mlflow.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlflow_plugin.text import Markup, element, fitted, joined

Record = Mapping[str, Any]

CAUSES_MAX = 40
WBR = Markup("<wbr>")
BREAKS = re.compile(r"(?<=[.+@])(?=[^\W\d])")
SURE = frozenset({"explicit", "autolog"})
CIRCUMSTANCES = frozenset(
    {"statement", "binds", "policy", "masks", "params", "code", "packages", "metrics"}
)
GRAPH_NODES_MAX = 12
NODE_HEIGHT, NODE_STEP = 46, 62
COLUMN_LEFT, COLUMN_WIDTH = (2, 280, 636), (222, 300, 222)
BAR_WIDTH = 120

STYLE = Markup("""
:root { color-scheme: light dark; --ink: #1d2329; --soft: #59636e; --line: #d5dae0;
  --paper: #ffffff; --card: #f5f7f9; --good: #1a7f45; --warn: #b3470a; --calm: #2c5fb3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebee; --soft: #9ba5af; --line: #3a424b;
  --paper: #14181c; --card: #1c2127; --good: #4cc37f; --warn: #f0924d; --calm: #7eaaf0; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 24px; background: var(--paper); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 860px; margin: 0 auto; }
h1 { font-size: 22px; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 15px; margin: 28px 0 8px; }
p { margin: 4px 0; }
.soft { color: var(--soft); }
.badge { display: inline-block; padding: 1px 9px; border-radius: 10px; border: 1px solid;
  font-size: 12px; font-weight: 600; letter-spacing: .04em; vertical-align: 3px; margin-left: 8px; }
.drifted { color: var(--warn); } .stable { color: var(--good); }
.baseline { color: var(--calm); } .unknown { color: var(--soft); }
.answer { font-size: 15px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 5px 10px 5px 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
th { color: var(--soft); font-weight: 500; font-size: 12px; white-space: nowrap; }
td code { overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap;
  padding-right: 28px; width: 1%; }
code, pre { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 10px 12px; margin: 6px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
code.short { white-space: nowrap; }
svg { display: block; max-width: 100%; height: auto; }
svg.share { width: 120px; max-width: none; }
svg text { fill: var(--ink); font-size: 13px; } svg .small { fill: var(--soft); font-size: 11.5px; }
svg rect.node { fill: var(--card); stroke: var(--line); }
svg rect.run { stroke: var(--calm); stroke-width: 1.5; }
svg path { fill: none; stroke: var(--soft); stroke-width: 1.3; }
svg path.read { stroke-dasharray: 4 4; }
svg rect.bar { fill: var(--warn); } svg rect.track { fill: var(--card); stroke: var(--line); }
""")


def html_page(record: Record) -> str:
    """The whole page, self-contained, in light and dark."""
    run, verdict = record["run"], record["verdict"]
    status = str(verdict["status"])
    body = element(
        "main",
        element("p", "nbgov · governed data of this run", class_="soft"),
        element("h1", run["name"], element("span", status.upper(), class_=f"badge {status}")),
        element("p", "run ", element("code", run["id"]), class_="soft"),
        *same_as_last_time(verdict),
        *what_changed(verdict),
        *which_data(record),
        *who_asked(record["inputs"]),
        *masked_how(record["inputs"]),
        *which_statement(record["inputs"]),
        *which_code(record),
        *where_recorded(record),
    )
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
        element("title", f"nbgov · {run['name']}"),
        element("style", STYLE),
    )
    return f"<!doctype html>\n{element('html', head, element('body', body), lang='en')}\n"


# ---------------------------------------------------------------- one answer each


def same_as_last_time(verdict: Record) -> Iterable[Markup]:
    """The verdict, and what it compares with."""
    yield element("h2", "Is it the same data as last time?")
    yield element("p", verdict["sentence"], class_="answer")
    baseline = verdict["baseline"]
    if baseline is not None:
        last = "the last finished run with inputs of these names"
        how = "chosen by a person" if verdict["baseline_is_chosen"] else last
        run_id = element("code", baseline["id"])
        yield element(
            "p", f"Compared with {baseline['name']} (", run_id, f"), {how}.", class_="soft"
        )


def what_changed(verdict: Record) -> Iterable[Markup]:
    """The ranked causes, with a bar for each effect."""
    causes = verdict["causes"]
    if not causes:
        return
    yield element("h2", "What changed?")
    rows = [
        [str(cause["kind"]), str(cause["sentence"]), *effect_cells(cause)]
        for cause in causes[:CAUSES_MAX]
    ]
    yield table(("Kind", "What", "", "Rows moved"), rows)
    if len(causes) > CAUSES_MAX:
        yield element("p", f"And {len(causes) - CAUSES_MAX} more in lineage.json.", class_="soft")


def effect_cells(cause: Record) -> list[str]:
    """A bar and a figure for a cause that moved a share of the rows; nothing for any other."""
    effect = float(cause["effect"])
    if cause["kind"] in CIRCUMSTANCES or effect <= 0:
        return ["", ""]
    return [bar(effect), f"{100 * effect:.1f} %"]


def which_data(record: Record) -> Iterable[Markup]:
    """The graph from tables to the run, and a table of the inputs."""
    yield element("h2", "Which data?")
    yield graph(record)
    rows = [
        [
            one["name"],
            element("code", one["version_id"]),
            f"{one['facts'].get('rows', 0):,}",
            usage(one),
        ]
        for one in record["inputs"]
    ]
    yield table(("Dataset", "Version", "Rows", "Used as"), rows)


def who_asked(inputs: Sequence[Record]) -> Iterable[Markup]:
    """Principal, decision and policy of each read."""
    yield element("h2", "Who asked, and under which policy?")
    rows = [
        [
            one["name"],
            one["read"].get("nbgov.principal", "not recorded"),
            one["read"].get("nbgov.decision", "not recorded"),
            element("code", str(one["facts"].get("policy", ""))[:12], class_="short"),
            moment(one["read"].get("nbgov.at", "")),
        ]
        for one in inputs
    ]
    yield table(("Dataset", "Asked by", "Decision", "Policy", "At"), rows)


def masked_how(inputs: Sequence[Record]) -> Iterable[Markup]:
    """The masked columns of each input."""
    yield element("h2", "What was masked, and how?")
    rows = [
        [one["name"], element("code", column), mask]
        for one in inputs
        for column, mask in one["facts"].get("masked", {}).items()
    ]
    if rows:
        yield table(("Dataset", "Column", "Mask"), rows)
    else:
        yield element("p", "No column of these inputs was masked.")


def which_statement(inputs: Sequence[Record]) -> Iterable[Markup]:
    """The redacted statement of each input, and the names of its parameters."""
    yield element("h2", "Which statement?")
    for one in inputs:
        facts = one["facts"]
        yield element("p", f"{one['name']}, values replaced:", class_="soft")
        yield element("pre", facts.get("statement", ""))
        if facts.get("parameters"):
            yield element("p", f"Parameters: {', '.join(facts['parameters'])}", class_="soft")


def which_code(record: Record) -> Iterable[Markup]:
    """Commit, cells and environment of the training."""
    code, environment = record["code"], record["environment"]
    dirty = {"true": ", with changes that are not committed", "false": ""}
    facts = [
        ("Commit", code.get("commit", "") and code["commit"] + dirty.get(code.get("dirty"), "")),
        ("Notebook cells", cells(code)),
        ("Python", environment.get("python", "")),
        ("System", environment.get("os", "")),
        ("Packages", f"{len(environment.get('packages', {}))}, listed in lineage.json"),
    ]
    yield element("h2", "With which code?")
    if environment:
        yield table(("", ""), [[name, fact] for name, fact in facts if fact])
    else:
        yield element("p", "Not known: the data was bound to the run after it had ended.")


def where_recorded(record: Record) -> Iterable[Markup]:
    """The receipts of the audit log, and what they are good for."""
    yield element("h2", "Where is it recorded?")
    rows = [
        [one["name"], element("code", one["read"].get("nbgov.receipt", "not recorded"))]
        for one in record["inputs"]
    ]
    yield table(("Dataset", "Receipt in the audit log"), rows)
    yield element(
        "p",
        "This page is written by the training process, so it is a claim. The audit log is the "
        "evidence: a receipt names the log, the entry and the start of its hash, and ",
        element("code", "nbgov audit verify"),
        " checks the log.",
        class_="soft",
    )


def usage(one: Record) -> str:
    """How a run used an input; only a sure link may say that it trained on it."""
    if one["bound_via"] == "explicit":
        return f"{one['context']}, as the code states"
    if one["bound_via"] == "autolog":
        return f"{one['context']}, seen by autolog"
    return "read while the run was open"


def moment(at: str) -> str:
    """A point in time as people read it.

    >>> moment("2026-11-23T06:16:05+00:00")
    '2026-11-23 06:16:05 UTC'
    """
    return at.replace("T", " ").replace("+00:00", " UTC")


def cells(code: Record) -> str:
    """The notebook cells in words."""
    if "cells" not in code:
        return ""
    ran = code["cells"].split()
    return f"{len(ran)} ran, the last with digest {ran[-1]}" if ran else "none"


# ---------------------------------------------------------------- tables and drawings


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """A table; columns whose head starts with Rows hold numbers."""
    kinds = ["number" if name.startswith("Rows") else "" for name in head]
    titles = [element("th", name, class_=kind) for name, kind in zip(head, kinds, strict=True)]
    body = [
        element(
            "tr", *(element("td", breakable(c), class_=k) for c, k in zip(row, kinds, strict=True))
        )
        for row in rows
    ]
    top = [element("thead", element("tr", *titles))] if any(head) else []
    return element("table", *top, element("tbody", *body))


def breakable(text: str) -> Markup:
    """Text whose names may go on in a new line after a dot, plus or at sign; it copies unchanged.

    >>> breakable("main.a<b 1.5")
    'main.<wbr>a&lt;b 1.5'
    """
    if isinstance(text, Markup):
        return text
    first, *rest = BREAKS.split(text)
    return joined(first, *(part for one in rest for part in (WBR, one)))


def bar(share: float) -> Markup:
    """A bar that fills a share of its track."""
    track = element("rect", class_="track", width=BAR_WIDTH, height=10, y=4, rx=3)
    width = max(2.0, round(BAR_WIDTH * min(share, 1.0), 1))
    filled = element("rect", class_="bar", width=width, height=10, y=4, rx=3)
    box = f"0 0 {BAR_WIDTH} 18"
    return element("svg", track, filled, class_="share", viewBox=box, aria_hidden="true")


def graph(record: Record) -> Markup:
    """Tables, dataset versions and the run, from left to right."""
    inputs = record["inputs"][:GRAPH_NODES_MAX]
    sources = list(dict.fromkeys(name for one in inputs for name in tables_of(one)))
    tables = sources[:GRAPH_NODES_MAX]
    rows = max(len(tables), len(inputs), 1)
    left = dict(zip(tables, tops(len(tables), rows), strict=True))
    middle = tops(len(inputs), rows)
    [right] = tops(1, rows)
    parts = [
        edge(0, left[name], middle[place], "")
        for place, one in enumerate(inputs)
        for name in tables_of(one)
        if name in left
    ]
    parts += [
        edge(1, top, right, "" if one["bound_via"] in SURE else "read")
        for one, top in zip(inputs, middle, strict=True)
    ]
    parts += [node(0, top, name, "table") for name, top in left.items()]
    parts += [
        node(1, top, one["name"], version_line(one))
        for one, top in zip(inputs, middle, strict=True)
    ]
    parts.append(node(2, right, record["run"]["name"], "this run", kind="node run"))
    hidden = len(record["inputs"]) - len(inputs) + len(sources) - len(tables)
    notes = [
        "A dashed line is a read while the run was open: no proof that it was trained on."
        if any(one["bound_via"] not in SURE for one in inputs)
        else "",
        f"{hidden} more tables or datasets are not drawn." if hidden else "",
    ]
    width = COLUMN_LEFT[2] + COLUMN_WIDTH[2] + 2
    drawing = element(
        "svg",
        *parts,
        viewBox=f"0 0 {width} {rows * NODE_STEP}",
        width=width,
        role="img",
        aria_label="From tables through dataset versions to this run",
    )
    return joined(drawing, element("p", " ".join(filter(None, notes)), class_="soft"))


def tables_of(one: Record) -> list[str]:
    """The tables that an input was read from, with their connection."""
    facts = one["facts"]
    return [f"{facts.get('connection', '')}.{name}" for name in facts.get("tables", [])]


def version_line(one: Record) -> str:
    """What stands below a dataset's name in the graph."""
    masked = len(one["facts"].get("masked", {}))
    return f"v{one['version_id'][:8]} · {one['facts'].get('rows', 0):,} rows · {masked} masked"


def tops(count: int, rows: int) -> list[float]:
    """The top edges of nodes that are spread evenly over the height of so many rows."""
    step = rows * NODE_STEP / max(count, 1)
    return [round(place * step + (step - NODE_HEIGHT) / 2, 1) for place in range(count)]


def node(column: int, top: float, title: str, below: str, *, kind: str = "node") -> Markup:
    """A box with a title and a small line; the whole title shows on hover."""
    left, width = COLUMN_LEFT[column], COLUMN_WIDTH[column]
    characters = (width - 20) // 7
    box = element("rect", class_=kind, x=left, y=top, width=width, height=NODE_HEIGHT, rx=6)
    text = element("text", fitted(title, characters), x=left + 10, y=top + 19)
    small = element("text", fitted(below, characters + 4), class_="small", x=left + 10, y=top + 36)
    return element("g", element("title", title), box, text, small)


def edge(column: int, from_top: float, to_top: float, kind: str) -> Markup:
    """A line from a node of one column to a node of the next."""
    x1, x2 = COLUMN_LEFT[column] + COLUMN_WIDTH[column], COLUMN_LEFT[column + 1]
    y1, y2 = from_top + NODE_HEIGHT / 2, to_top + NODE_HEIGHT / 2
    bend = (x1 + x2) / 2
    return element("path", class_=kind, d=f"M{x1},{y1} C{bend},{y1} {bend},{y2} {x2},{y2}")
