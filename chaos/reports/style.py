"""How the pages look that reports are: colours for light and dark, and the parts of their pictures.

Pictures name their lines `c0` to `c5`; the colours are told apart with any kind of colour vision (after Okabe and Ito,
"Color universal design", 2008), darker on white and lighter on black.
"""

from __future__ import annotations

COLOURS = """
:root { color-scheme: light dark; --ink: #1d232a; --quiet: #5b6570; --paper: #fff; --raised: #f6f8fa; --edge: #dde2e7;
        --good: #2f7a3e; --bad: #b3261e; --unsure: #8a6100; --shade: #f6d9a866; --band: #8593a31c;
        --c0: #1f6fb4; --c1: #c75b12; --c2: #3a7d44; --c3: #9a4a8f; --c4: #6b6f76; --c5: #b08900; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --quiet: #9aa5b1; --paper: #14181d; --raised: #1c2229; --edge: #333b44;
          --good: #79c98b; --bad: #ff8a80; --unsure: #e0b252; --shade: #6b4e1a77; --band: #9fb0c31c;
          --c0: #6fb3ec; --c1: #f0955a; --c2: #7cc489; --c3: #d79ccd; --c4: #a9b0b8; --c5: #e3c04a; }
}
"""

PICTURES = """
svg { font: 12px system-ui, sans-serif; }
svg .title { fill: var(--ink); font-weight: 600; } svg .tick, svg .name { fill: var(--quiet); font-size: 11px; }
svg .grid { stroke: var(--edge); } svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
svg .dashed { stroke-dasharray: 5 4; stroke-width: 1.4; } svg .injection { fill: var(--shade); }
svg .row { fill: var(--ink); } svg .span { stroke: var(--edge); stroke-width: 4; stroke-linecap: round; }
svg .band { fill: var(--band); } svg .label { font-weight: 600; }
""" + "".join(
    f"svg .line.c{number} {{ stroke: var(--c{number}); }} "
    f"svg .label.c{number}, svg .dot.c{number} {{ fill: var(--c{number}); }}\n"
    for number in range(6)
)

PAGE = """
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 960px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; border-top: 1px solid var(--edge);
     padding-top: 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--edge);
         vertical-align: top; }
th { color: var(--quiet); font-weight: 600; } td.figure { white-space: nowrap; }
.passed { color: var(--good); font-weight: 600; } .failed { color: var(--bad); font-weight: 600; }
.not-run { color: var(--quiet); font-weight: 600; }
.lead { font-size: 1.1rem; } .quiet { color: var(--quiet); }
svg { width: 100%; height: auto; margin-top: 1rem; }
li { overflow-wrap: anywhere; }
"""

STYLE = COLOURS + PAGE + PICTURES
