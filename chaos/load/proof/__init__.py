"""The proof report of a load campaign: Markdown, HTML with pictures and JSON, made from the campaign's folder alone.

`folder` reads it; `latency`, `throughput`, `reliability`, `access`, `cost`, `growth` and `setting` each judge their
targets and make their section of it; `composing` puts these together; `text` and `page` give them a form. No figure
has another source than the folder: what it does not tell is reported as not measured, with the reason.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chaos.load.proof import page, text
from chaos.load.proof.composing import compose
from chaos.load.proof.document import Document
from chaos.load.proof.folder import Campaign, Unreadable
from chaos.load.proof.verdict import Verdict
from chaos.reports.plots import standalone

__all__ = ["Unreadable", "Verdict", "write"]


def write(folder: Path, into: Path | None = None) -> Verdict:
    """Writes `report.md`, `report.html`, `report.json` and pictures, beside the data or into another folder.

    Raises `Unreadable` where the folder is none of a campaign, or a file in it is spoiled.
    """
    document = compose(Campaign(folder))
    into = into or folder
    into.mkdir(parents=True, exist_ok=True)
    written = {
        "report.md": text.render(document),
        "report.html": page.render(document),
        "report.json": json.dumps(to_json(document), indent=1, ensure_ascii=False) + "\n",
    }
    for section in document.sections:
        for picture in section.pictures:
            written[f"{picture.key}.svg"] = standalone(picture.svg)
    for name, content in written.items():
        (into / name).write_text(content, encoding="utf-8")
    return document.verdict


def to_json(document: Document) -> dict[str, Any]:
    """The report for scripts: times in ms or s, sizes in bytes, shares from 0 to 1."""
    facts = document.facts
    return {
        "campaign": facts.name,
        "scale": facts.scale,
        "commit": facts.commit,
        "dirty": facts.dirty,
        "version": facts.version,
        "passed": document.verdict.passed,
        "headline": document.headline,
        "findings": list(document.verdict.findings),
        "targets": [one.to_json() for one in document.results],
        "sections": {one.key: one.to_json() for one in document.sections},
    }
