"""How the pages look: what all pages of nbgov share, tickets and lineage, and a frame."""

from nbgov.core.pages import STYLE as SHARED
from nbgov.lineage.style import STYLE as LINEAGE
from nbgov.shown.render import RULES as SHOWN

OWN = """
:root { --jp-content-font-color2: var(--soft); --jp-border-color1: var(--line);
  --jp-border-color2: var(--line); --jp-layout-color1: var(--card); --jp-warn-color1: var(--warn);
  --jp-error-color1: var(--warn); --jp-success-color1: var(--good); --jp-ui-font-size1: 14px;
  --jp-ui-font-size0: 12px; --jp-code-font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
main { max-width: 1180px; }
h3 { font-size: 14px; margin: 18px 0 6px; }
a { color: var(--calm); }
a:focus-visible, button:focus-visible, input:focus-visible, select:focus-visible,
textarea:focus-visible, pre:focus-visible, main:focus-visible { outline: 2px solid var(--calm);
  outline-offset: 2px; }
main:focus { outline: none; }
.skip { position: absolute; left: -999px; } .skip:focus { left: 12px; top: 8px;
  background: var(--paper); padding: 4px 8px; }
header { max-width: 1180px; margin: 0 auto 18px; display: flex; flex-wrap: wrap; gap: 6px 18px;
  align-items: center; border-bottom: 1px solid var(--line); padding-bottom: 10px; }
header .brand { font-weight: 700; color: var(--ink); text-decoration: none; }
header nav { display: flex; flex-wrap: wrap; gap: 4px 16px; flex: 1 1 auto; }
header nav a, .tabs a { text-decoration: none; padding: 4px 2px; border-bottom: 2px solid
  transparent; }
header nav a:hover, .tabs a:hover { text-decoration: underline; }
[aria-current] { border-bottom-color: var(--calm) !important; color: var(--ink); font-weight: 600; }
header form { margin: 0; } .who { color: var(--soft); }
.tabs { display: flex; gap: 18px; margin: 10px 0 14px; }
form { margin: 8px 0; }
main li { min-height: 26px; line-height: 26px; }
.nbgov-warning li { min-height: 0; line-height: 1.45; }
td form { margin: 0; }
form.asking { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: end; }
form.asking label { flex: 0 1 190px; } form.asking label:only-of-type { flex-basis: 380px; }
form.asking details { flex: 1 0 100%; }
form.asking details label { display: inline-block; width: 190px; margin: 6px 14px 0 0; }
label span { display: block; color: var(--soft); font-size: 12px; margin-bottom: 2px; }
input, select, textarea { width: 100%; min-height: 32px; padding: 5px 8px; font: inherit;
  color: var(--ink); background: var(--paper); border: 1px solid var(--soft); border-radius: 5px; }
input::placeholder { color: var(--soft); opacity: 1; }
textarea { font: 12.5px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
form.deed { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 16px; margin: 12px 0; display: grid; gap: 8px; justify-items: start; }
form.deed label { width: 100%; } form.deed select { width: auto; min-width: 190px; }
button, .button { display: inline-block; min-height: 32px; padding: 5px 14px; font: inherit;
  cursor: pointer; border: 1px solid var(--calm); border-radius: 5px; background: var(--paper);
  color: var(--calm); text-decoration: none; }
button:hover, .button:hover { background: var(--card); text-decoration: underline; }
button.quiet { border-color: var(--line); }
form.deed p { display: flex; gap: 10px; margin: 0; }
.notice { border-left: 4px solid var(--calm); background: var(--card); padding: 8px 12px;
  margin: 12px 0; } .notice[role=alert] { border-color: var(--warn); }
.answers mark, pre mark { background: none; color: inherit; font-weight: 700;
  box-shadow: inset 3px 0 var(--calm); }
article h1 { font-size: 18px; margin-top: 18px; }
.nbgov.nbgov th, .nbgov.nbgov td { white-space: pre-wrap; overflow-wrap: anywhere; }
.nbgov.nbgov table { width: auto; margin-bottom: 10px; } .nbgov.nbgov th { font-size: inherit; }
.nbgov.nbgov caption { position: static; width: auto; height: auto; overflow: visible;
  clip-path: none; }
.nbgov.nbgov .nbgov-facts th { padding-right: 20px; white-space: nowrap; }
.nbgov .nbgov-part { margin-top: 18px; }
"""
STYLE = SHARED + SHOWN + LINEAGE + OWN
