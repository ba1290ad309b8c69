"""The sections of the lineage page below its answers: what each answer rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from nbgov.core.drift.report import CIRCUMSTANCE_KINDS, DATA_KINDS, Cause
from nbgov.core.lineage import Lineage
from nbgov.core.markup import Markup, element, folded, table
from nbgov.lineage.answers import NOT_NEEDED, origins_of
from nbgov.lineage.drawing import Line, Node, bar, graph, plot
from nbgov.model import DatasetVersion, Delivery, Run, RunInput, short_receipt

CAUSES_MAX = 60
COLUMNS_OPEN_MAX = 12
SURE = frozenset({"explicit", "autolog"})


def sections(lineage: Lineage) -> Iterator[Markup]:
    """Every section that the lineage has something for."""
    if lineage.report is not None:
        yield from changes(lineage)
        yield from holds(lineage)
    yield from consents(lineage)
    yield from drawn(lineage)
    yield from versions(lineage)
    yield from columns(lineage)
    yield from statements(lineage)
    yield from reads(lineage)
    if lineage.run is not None:
        yield from code(lineage.run)
    yield element(
        "p",
        "This page is written where the model was trained, so it is a claim. The audit log is the "
        "evidence: a receipt names the log, the entry and its hash, whose start is shown. ",
        element("code", "nbgov audit verify"),
        " checks the log, and ",
        element("code", "nbgov custody verify"),
        " a signed bundle of all this.",
        class_="soft",
    )


# ---------------------------------------------------------------- what changed, and what it holds


def changes(lineage: Lineage) -> Iterator[Markup]:
    """The ranked causes with their plots; remarks are folded away."""
    report, baseline = lineage.report, lineage.baseline
    assert report is not None
    if baseline is None:
        return
    how = "chosen by a person" if lineage.is_baseline_chosen else "found by the drift policy"
    yield element("h2", "What changed?")
    yield element(
        "p",
        f"Compared with {baseline.name or baseline.run_id} (",
        element("code", baseline.run_id),
        f"), {how}.",
        class_="soft",
    )
    felt = [cause for cause in report.causes if cause.effect > 0]
    remarks = [cause for cause in report.causes if cause.effect <= 0]
    if any(cause.detail.get("shape") for cause in felt):
        yield legend()
    yield element("ol", *map(cause_row, felt[:CAUSES_MAX]), class_="causes")
    if len(felt) > CAUSES_MAX:
        yield element("p", f"And {len(felt) - CAUSES_MAX} more in lineage.json.", class_="soft")
    if remarks:
        told = element("ol", *map(cause_row, remarks[:CAUSES_MAX]), class_="causes")
        many = "1 remark that counts" if len(remarks) == 1 else f"{len(remarks)} remarks that count"
        yield folded(f"{many} as no drift", told)


def legend() -> Markup:
    """What the plots show."""
    return element(
        "p",
        element("span", element("i", class_="then"), "baseline"),
        element("span", element("i", class_="now"), "this run"),
        class_="soft legend",
        aria_hidden="true",
    )


def cause_row(cause: Cause) -> Markup:
    """One cause: what, how much, and a plot where its figures allow one."""
    follows = f" (follows from the {cause.because})" if cause.because else ""
    parts = [
        element(
            "div",
            element("span", cause.kind, class_="kind"),
            element("span", cause.sentence, element("span", follows, class_="soft")),
            class_="what",
        )
    ]
    drawn = plot(cause.detail.get("shape"), subject=cause.subject)
    if drawn is not None:
        parts.append(element("div", drawn, class_="drawn"))
    if cause.kind in DATA_KINDS and cause.effect > 0:
        moved = f"{100 * min(cause.effect, 1.0):.1f} % of rows"
        parts.append(element("div", bar(cause.effect), moved, class_="size"))
    elif cause.kind in CIRCUMSTANCE_KINDS:
        parts.append(element("div", "circumstance", class_="size"))
    return element("li", *parts, class_="cause")


def holds(lineage: Lineage) -> Iterator[Markup]:
    """Why a promotion is held."""
    assert lineage.report is not None
    if lineage.report.holds:
        yield element("h2", "What holds a promotion?")
        yield element("ul", *(element("li", hold) for hold in lineage.report.holds))


def consents(lineage: Lineage) -> Iterator[Markup]:
    """Tickets and the votes on them."""
    yield element("h2", "Who approved?")
    rows = [
        [
            one.subject,
            element("code", one.ticket),
            one.requester,
            ", ".join(
                f"{vote.voter} {'approved' if vote.is_approval else 'denied'} {moment(vote.at)}"
                for vote in one.votes
            )
            or "no vote",
            f"{one.state}, in an emergency" if one.is_emergency else one.state,
            element("code", one.binding[:12]),
        ]
        for one in lineage.approvals
    ]
    head = ("Of", "Ticket", "Asked by", "Votes", "State", "Bound to")
    if rows:
        yield table(head, rows, label="Approvals")
    else:
        yield element("p", f"Nobody: {NOT_NEEDED}.")


# ---------------------------------------------------------------- which data


def drawn(lineage: Lineage) -> Iterator[Markup]:
    """The graph: tables, dataset versions, the run, the model."""
    yield element("h2", "Where does it come from?")
    run, model = lineage.run, lineage.model
    tables, lines = tables_and_reads(lineage)
    middle = [
        Node(one.version_id, one.name, version_line(lineage, one.version_id), "data")
        for one in inputs_of(lineage)
    ]
    parts: list[tuple[int, Sequence[Node]]] = [(210, tables), (260, middle)]
    if run is not None:
        parts[1] = (260, [*middle, *strangers(run)])
        lines += [Line(one.version_id, "run", is_sure=one.bound_via in SURE) for one in run.inputs]
        lines += [Line(node.key, "run") for node in strangers(run)]
        parts.append((170, [Node("run", run.name or run.run_id, "training run", "run")]))
    if model is not None:
        aliases = ", ".join(model.aliases) or "model version"
        parts.append((150, [Node("model", f"{model.name} {model.version}", aliases, "model")]))
        lines.append(Line("run", "model"))
    yield graph(parts, lines)
    if not all(line.is_sure for line in lines):
        what = "A dashed line is a read while the run was open: no proof that it was trained on."
        yield element("p", what, class_="soft")


def tables_and_reads(lineage: Lineage) -> tuple[list[Node], list[Line]]:
    """The base tables, with the state in which they were read, and where they went."""
    marks = {
        (delivery.version_id, source.table): f"{source.kind} {source.mark}"
        for delivery in lineage.deliveries
        for source in delivery.sources
    }
    nodes: dict[str, Node] = {}
    lines = []
    for version in lineage.current:
        for name in version.tables:
            key = f"{version.connection}.{name}"
            below = marks.get((version.version_id, name), "table")
            nodes.setdefault(key, Node(key, key, below, "table"))
            lines.append(Line(key, version.version_id))
    return list(nodes.values()), lines


def strangers(run: Run) -> list[Node]:
    """What a run used that is no governed dataset version: other models, and ungoverned data."""
    models = [Node(f"model {name}", name, "model that it loaded", "data") for name in run.models]
    return models + [
        Node(f"ungoverned {place}", what, "ungoverned input", "stranger")
        for place, what in enumerate(run.ungoverned)
    ]


def inputs_of(lineage: Lineage) -> list[RunInput]:
    """The inputs, each version once; of a dataset version, the version itself."""
    if lineage.run is None:
        return [RunInput(one.name, one.version_id, "", "explicit") for one in lineage.current]
    return list({one.version_id: one for one in lineage.run.inputs}.values())


def version_line(lineage: Lineage, version_id: str) -> str:
    """What stands below a dataset's name in the graph."""
    version = lineage.versions.get(version_id)
    if version is None:
        return f"v{version_id[:8]} · not kept here"
    return f"v{version_id[:8]} · {version.rows:,} rows · {len(version.masked)} masked"


def versions(lineage: Lineage) -> Iterator[Markup]:
    """The dataset versions, beside those of the baseline."""
    yield element("h2", "Which data, and which last time?")
    last = {
        one.name: one.version_id for one in (lineage.baseline.inputs if lineage.baseline else ())
    }
    rows = []
    for one in inputs_of(lineage):
        version = lineage.versions.get(one.version_id)
        before = last.get(one.name, "")
        rows.append(
            [
                one.name,
                element("code", one.version_id),
                f"{version.rows:,}" if version else "not kept here",
                usage(one),
                ", ".join(one.labels) or "not known",
                "the same" if before == one.version_id else element("code", before[:8] or "none"),
            ]
        )
    head = ("Dataset", "Version", "#Rows", "Used as", "Labels", "Last time")
    if rows:
        yield table(head, rows, label="Dataset versions")
    else:
        yield element("p", "Not known: no governed input is bound to it.")


def usage(one: RunInput) -> str:
    """How a run used an input; only a sure link may say that it trained on it."""
    if one.bound_via == "explicit":
        return f"{one.context}, as the code states" if one.context else "as asked"
    if one.bound_via == "autolog":
        return f"{one.context}, seen by autolog"
    return "read while the run was open"


def columns(lineage: Lineage) -> Iterator[Markup]:
    """Each result column with the base columns that it shows, and its mask on the way."""
    found = [version for version in lineage.current if version.columns]
    if not found:
        return
    yield element("h2", "Which columns?")
    importance = lineage.run.importance if lineage.run is not None else {}
    for place, version in enumerate(found):
        label = f"Columns of {version.name}"
        shown = table(
            ("Column", "Type", "Shows", "Mask", "Tags", "#Importance"),
            list(column_rows(version, importance)),
            label=label,
        )
        is_open = place == 0 and len(version.columns) <= COLUMNS_OPEN_MAX
        yield folded(f"{label}: {len(version.columns)}", shown, is_open=is_open)


def column_rows(version: DatasetVersion, shares: Mapping[str, float]) -> Iterator[list[str]]:
    """A row for each column of a version."""
    for column, kind, *_ in version.columns:
        share = shares.get(column, shares.get(f"{version.name}.{column}"))
        yield [
            element("code", column),
            kind,
            origins_of(version, column),
            version.masked.get(column, "none"),
            ", ".join(version.tags.get(column, ())) or "none",
            "" if share is None else f"{100 * share:.1f} %",
        ]


def statements(lineage: Lineage) -> Iterator[Markup]:
    """The redacted statement of each version, and the names of its bound values."""
    if lineage.current:
        yield element("h2", "Which statement?")
    for version in lineage.current:
        yield element(
            "p", f"{version.name} on {version.connection}, values replaced:", class_="soft"
        )
        yield element("pre", element("code", version.statement))
        if version.binds:
            yield element("p", f"Bound values: {', '.join(version.binds)}", class_="soft")


def reads(lineage: Lineage) -> Iterator[Markup]:
    """Who got the data, under which rule, policy and record."""
    yield element("h2", "Who asked, under which policy, and where is it recorded?")
    policies = {version.version_id: version.policy for version in lineage.current}
    rows = [read_row(one, policies.get(one.version_id, "")) for one in lineage.deliveries]
    head = ("Dataset", "Asked by", "Decision", "Policy", "Revision", "At", "Receipt")
    if rows:
        yield table(head, rows, label="Reads")
    else:
        yield element("p", "Not known: the reads are not kept here.")
    states = [
        [source.table, source.kind, source.mark, moment(source.changed_at)]
        for delivery in lineage.deliveries
        for source in delivery.sources
    ]
    if states:
        shown = table(("Table", "Kind", "State", "Changed"), states, label="States of the tables")
        yield folded("In which state were the tables?", shown)


def read_row(delivery: Delivery, policy: str) -> list[str]:
    """One read."""
    return [
        delivery.name,
        delivery.principal,
        f"{delivery.decision} by {', '.join(delivery.rules) or 'no rule'}",
        element("code", policy[:12] or "unknown"),
        element("code", delivery.policy_revision[:12] or "none"),
        moment(delivery.at),
        element("code", short_receipt(delivery.receipt), title=delivery.receipt),
    ]


# ---------------------------------------------------------------- with which code


def code(run: Run) -> Iterator[Markup]:
    """Commit, cells, machine and packages of the training."""
    yield element("h2", "With which code?")
    facts = {**run.code, **run.environment}
    cells = facts.pop("cells", "").split()
    if cells:
        facts["notebook cells"] = f"{len(cells)} ran, the last with digest {cells[-1]}"
    rows = [[name.replace("_", " "), value] for name, value in facts.items() if value]
    if rows:
        yield table(("Fact", "Value"), rows, label="Code and machine")
    else:
        yield element("p", "Not known: the data was bound to the run after it had ended.")
    if run.packages:
        found = [[name, version] for name, version in sorted(run.packages.items())]
        shown = table(("Package", "Version"), found, label="Packages")
        yield folded(f"{len(found)} packages", shown)


def moment(at: datetime | None) -> str:
    """A point in time as people read it.

    >>> moment(datetime(2026, 11, 23, 6, 16, 5, tzinfo=UTC))
    '2026-11-23 06:16 UTC'
    """
    if at is None:
        return "not known"
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at.tzinfo else f"{at:%Y-%m-%d %H:%M}"
