"""Pages that stand alone: one HTML text, for light, for dark and for paper, that runs nothing.

A page needs nothing from outside, so that whoever gets it as a file sees what its maker saw.
"""

from __future__ import annotations

from nbgov.core.markup import Markup, element

HEAD = Markup(
    '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    # Security: nothing of the page runs or loads, whatever a name in it holds.
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)
STYLE = Markup("""
:root { color-scheme: light dark; --ink: #1d2329; --soft: #56606b; --line: #d5dae0;
  --paper: #ffffff; --card: #f5f7f9; --good: #1a7040; --warn: #a8430a; --calm: #2c5fb3;
  --then: #aeb7c1; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e8ebee; --soft: #a3adb7;
  --line: #3a424b; --paper: #14181c; --card: #1c2127; --good: #4cc37f; --warn: #f0924d;
  --calm: #7eaaf0; --then: #56616d; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 20px 24px 40px; background: var(--paper); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 920px; margin: 0 auto; }
h1 { font-size: 22px; line-height: 1.3; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 30px 0 8px; }
p { margin: 4px 0; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.badge { display: inline-block; padding: 1px 9px; border-radius: 10px; border: 1px solid;
  font-size: 12px; font-weight: 600; letter-spacing: .04em; vertical-align: 3px; margin-left: 8px; }
.bad { color: var(--warn); } .good { color: var(--good); }
.answers { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 10px 16px; margin: 14px 0 0; display: grid; gap: 6px 18px;
  grid-template-columns: max-content minmax(0, 1fr); }
.answers dt { color: var(--soft); } .answers dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 560px) { .answers { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .answers dd { margin: 0 0 8px; } }
.wide { overflow-x: auto; }
.wide:focus-visible, summary:focus-visible { outline: 2px solid var(--calm); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { text-align: left; vertical-align: top; padding: 5px 12px 5px 0;
  border-bottom: 1px solid var(--line); overflow-wrap: break-word; }
th { color: var(--soft); font-weight: 500; font-size: 12px; white-space: nowrap; }
td code { white-space: nowrap; } td code.long { white-space: normal; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap;
  padding-right: 26px; }
code, pre { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 10px 12px; margin: 6px 0; white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: 6px 0; } summary { cursor: pointer; color: var(--calm); }
svg { display: block; max-width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 12.5px; } svg .small { fill: var(--soft); font-size: 11px; }
@media print { body { padding: 0; } .wide { overflow: visible; } }
""")


def page(title: str, main: Markup, *, style: str = "") -> str:
    """A whole page.

    Args:
        title: What its tab or its file is called.
        main: The element that holds all of it.
        style: Rules of its own, behind those that all pages share.
    """
    head = element("head", HEAD, element("title", title), element("style", Markup(STYLE + style)))
    return f"<!doctype html>\n{element('html', head, element('body', main), lang='en')}\n"
