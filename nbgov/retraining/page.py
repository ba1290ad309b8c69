"""A drift report as HTML: a fragment for a notebook, and a page that stands alone.

Names, sentences and levels are other people's text, so every one of them passes through ``safe``.
There is no script, no link and nothing loaded from elsewhere. Equal reports give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nbgov.core.drift import Cause, DriftReport
from nbgov.core.visible import safe
from nbgov.retraining.outline import Outline, Told, outline
from nbgov.retraining.pictures import picture
from nbgov.retraining.replay import Replay
from nbgov.retraining.telling import MOODS, report_title

PICTURES_MAX = 24

# A front end that does not trust a notebook drops this; the words below it carry the meaning then.
STYLE = """<style>
.nbgov-drift { color: var(--jp-content-font-color1, inherit); line-height: 1.45;
  font-size: var(--jp-ui-font-size1, 13px); max-width: 62em;
  --nbgov-quiet: var(--jp-content-font-color2, #6a737d);
  --nbgov-line: var(--jp-border-color2, #8884);
  --nbgov-bad: var(--jp-error-color0, #b3401a);
  --nbgov-open: var(--jp-warn-color0, #965a00);
  --nbgov-good: var(--jp-success-color0, #237a38);
  --nbgov-now: var(--jp-brand-color1, #1f66c4); }
.nbgov-drift .nbgov-title { font-size: 1.15em; margin-bottom: 0.3em; overflow-wrap: anywhere; }
.nbgov-drift h4 { font-size: 1em; margin: 1.2em 0 0.4em; }
.nbgov-drift p { margin: 0.3em 0; }
.nbgov-drift mark { background: none; border: 1px solid currentColor; border-radius: 0.8em;
  color: var(--nbgov-quiet); font-size: 0.8em; font-weight: 600; padding: 0.05em 0.6em;
  white-space: nowrap; }
.nbgov-drift .nbgov-good { color: var(--nbgov-good); }
.nbgov-drift .nbgov-bad { color: var(--nbgov-bad); }
.nbgov-drift .nbgov-open { color: var(--nbgov-open); }
.nbgov-drift table { border-collapse: collapse; font-size: inherit; margin: 0; width: 100%; }
.nbgov-drift th, .nbgov-drift td { background: none; border: 0;
  border-bottom: 1px solid var(--nbgov-line); padding: 0.3em 0.8em 0.3em 0; text-align: left;
  vertical-align: top; white-space: normal; overflow-wrap: anywhere; }
.nbgov-drift th, .nbgov-drift small { color: var(--nbgov-quiet); font-weight: normal; }
.nbgov-drift th { white-space: nowrap; }
.nbgov-drift .nbgov-verdict { font-size: 1.05em; }
.nbgov-drift td:first-child { white-space: nowrap; width: 1%; }
.nbgov-drift .nbgov-number { font-variant-numeric: tabular-nums; text-align: right;
  white-space: nowrap; width: 1%; }
.nbgov-drift .nbgov-gauge { width: 5.5em; }
.nbgov-drift svg { display: block; max-width: 100%; }
.nbgov-drift .nbgov-gauge svg { height: 0.7em; margin-top: 0.4em; width: 5em; }
.nbgov-drift .nbgov-track { fill: var(--nbgov-line); }
.nbgov-drift .nbgov-bar { fill: var(--nbgov-open); }
.nbgov-drift .nbgov-small { display: grid; gap: 1.1em 1.8em;
  grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); }
.nbgov-drift figure { margin: 0; }
.nbgov-drift figcaption { margin-bottom: 0.25em; overflow-wrap: anywhere; }
.nbgov-picture text { fill: var(--nbgov-quiet); font: 11px system-ui, sans-serif; }
.nbgov-picture .nbgov-axis { stroke: var(--nbgov-line); }
.nbgov-picture .nbgov-before { fill: var(--nbgov-quiet); fill-opacity: 0.38; }
.nbgov-picture path.nbgov-after { fill: none; stroke: var(--nbgov-now); stroke-width: 1.8; }
.nbgov-picture rect.nbgov-after { fill: var(--nbgov-now); }
.nbgov-drift .nbgov-key { color: var(--nbgov-quiet); font-weight: normal; }
.nbgov-drift .nbgov-key b { color: var(--nbgov-now); font-weight: 600; }
</style>"""

# The colours of a page of its own; a notebook brings its own.
PAGE_STYLE = """<style>
:root { color-scheme: light dark; }
body { background: #fff; color: #1d2329; margin: 0; padding: 28px;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { margin: 0 auto; max-width: 940px; }
.nbgov-drift { --jp-ui-font-size1: 14px; --jp-content-font-color2: #59636e; }
@media (prefers-color-scheme: dark) {
  body { background: #14181c; color: #e8ebee; }
  .nbgov-drift { --jp-content-font-color2: #9ba5af; --jp-error-color0: #ff8a65;
    --jp-warn-color0: #f0a34d; --jp-success-color0: #4cc37f; --jp-brand-color1: #7eaaf0; } }
</style>"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report_page(report: DriftReport, replay: Replay | None = None) -> str:
    """A report as a file that any browser shows, in light and in dark."""
    title = safe(report_title(report))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{safe(POLICY)}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>nbgov · {title}</title>{PAGE_STYLE}</head>\n"
        f"<body><main>{report_html(report, replay)}</main></body></html>\n"
    )


def report_html(report: DriftReport, replay: Replay | None = None) -> str:
    """A report for a notebook: the verdict, then why, ranked, with pictures, then what it means."""
    found = outline(report)
    mood = MOODS[report.status]
    parts = [
        (
            f'<div class="nbgov-title"><strong>{safe(report_title(report))}</strong> '
            f'<mark class="nbgov-{mood}">{safe(report.status)}</mark></div>'
        ),
        f'<p class="nbgov-verdict">{safe(report.verdict)}</p>',
        *outcome_html(found.outcome),
        *changes_html(found.changes),
        *pictures_html(report.causes),
        *replay_html(replay),
        *remarks_html(found),
        *holds_html(found.holds),
    ]
    return f'<div class="nbgov-drift">{STYLE}\n' + "\n".join(parts) + "\n</div>"


def outcome_html(outcome: Sequence[Cause]) -> Iterator[str]:
    """What came of it."""
    if outcome:
        yield "<h4>What came of it</h4>"
    for cause in outcome:
        yield f"<p>{safe(cause.sentence)}</p>"


def changes_html(changes: Sequence[Told]) -> Iterator[str]:
    """The ranked causes; what follows from one stands below it, indented."""
    if not changes:
        return
    yield "<h4>What changed, ranked</h4>\n<table><thead><tr>"
    yield '<th>kind</th><th>what changed</th><th class="nbgov-number">rows</th><th></th></tr>'
    yield "</thead>\n<tbody>"
    for told in changes:
        below = "&nbsp;&nbsp;" * told.depth + "└ " if told.depth else ""
        share = "" if told.share is None else f"{told.share:.0%}"
        yield (
            f"<tr><td>{below}{safe(told.cause.kind)}</td><td>{safe(told.cause.sentence)}</td>"
            f'<td class="nbgov-number">{share}</td>'
            f'<td class="nbgov-gauge">{gauge(told.share)}</td></tr>'
        )
    yield "</tbody></table>"


def gauge(share: float | None) -> str:
    """A bar for a share."""
    if share is None:
        return ""
    width = max(1.0, 100 * min(share, 1.0))
    return (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="nbgov-track" width="100" height="10"/>'
        f'<rect class="nbgov-bar" width="{width:.1f}" height="10"/></svg>'
    )


def pictures_html(causes: Sequence[Cause]) -> Iterator[str]:
    """One small picture a column that moved, in the order of the causes."""
    drawn: dict[str, str] = {}
    for cause in causes:
        shape = cause.detail.get("shape")
        if isinstance(shape, dict) and cause.subject not in drawn and len(drawn) < PICTURES_MAX:
            made = picture(cause.subject, shape)
            drawn |= {cause.subject: made} if made else {}
    if not drawn:
        return
    key = '<span class="nbgov-key">grey: the baseline, <b>colour: now</b></span>'
    yield f'<h4>Before and now {key}</h4>\n<div class="nbgov-small">'
    for subject, made in drawn.items():
        yield f"<figure><figcaption>{safe(subject)}</figcaption>{made}</figure>"
    yield "</div>"


def replay_html(replay: Replay | None) -> Iterator[str]:
    """What each factor is worth."""
    if replay is None:
        return
    yield f"<h4>Replay: where the change of {safe(replay.metric)} comes from</h4>"
    yield from (f"<p>{safe(one)}</p>" for one in (replay.summary(), *replay.remarks()))
    yield "<table><tbody>"
    effects = [abs(one.effect) for one in replay.shares if one.effect is not None]
    most = max(effects, default=0.0) or 1.0
    for one in replay.shares:
        effect = one.figure()
        told = one.sentence()
        bar = gauge(abs(one.effect) / most if one.effect else None)
        yield (
            f'<tr><td>{safe(one.factor)}</td><td class="nbgov-number">{effect}</td>'
            f'<td class="nbgov-gauge">{bar}</td><td>{safe(told)}</td></tr>'
        )
    yield f"</tbody></table>\n<p><small>{replay.trainings_text()}</small></p>"


def remarks_html(found: Outline) -> Iterator[str]:
    """What is worth knowing and is no drift."""
    if found.remarks:
        yield "<h4>Remarks</h4>\n<table><tbody>"
        for cause in found.remarks:
            yield f"<tr><td>{safe(cause.kind)}</td><td>{safe(cause.sentence)}</td></tr>"
        yield "</tbody></table>"
    if found.left:
        yield f"<p><small>… {found.left:,} more cause{'s' * (found.left > 1)}</small></p>"


def holds_html(holds: Sequence[str]) -> Iterator[str]:
    """What would hold a promotion."""
    if holds:
        yield '<h4 class="nbgov-bad">Would hold a promotion</h4>'
        yield f"<p>{safe('; '.join(holds))}</p>"
