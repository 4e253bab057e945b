"""What every campaign must hold, whatever its figures are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from chaos.alerts import Json
from chaos.load.mix import REFUSED
from chaos.load.proof.figures import NONE
from chaos.load.proof.spread import Spread
from chaos.load.retrying import is_final


def read(path: Path) -> Iterator[Json]:
    """The lines of a file."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def judged(folder: Path, audit: Json | None) -> list[str]:
    """What is wrong: an audit that finds something, somebody who was let in or kept out against the rules."""
    findings = []
    if audit is not None and audit["exit"] != 0:
        counts = {key: audit.get(key) for key in ("lost", "surplus", "openTwice", "error") if audit.get(key)}
        findings.append(f"gateway audit: exit {audit['exit']}, {counts or audit.get('faults')}")
    statuses: Counter[tuple[str, int]] = Counter()
    last: dict[str, int] = {}
    for line in read(folder / "requests.jsonl"):
        statuses[line["kind"], line["status"]] += 1
        last[line["id"]] = line["status"]
    for (kind, status), number in sorted(statuses.items()):
        wanted = REFUSED.get(kind)
        if wanted is not None and is_final(status) and status != wanted:
            findings.append(f"{number} webhooks of the kind {kind} were answered {status}, and not {wanted}")
        if wanted is None and 300 <= status < 500:
            findings.append(f"{number} webhooks of the kind {kind} were answered {status}")
    unanswered = sum(not is_final(status) for status in last.values())
    if unanswered:
        findings.append(f"{unanswered} deliveries were given up")
    if not last:
        findings.append("nothing was sent")
    return findings


def summary(folder: Path) -> list[str]:
    """The figures of a campaign for a terminal: statuses, and milliseconds of first attempts that were answered.

    A quantile is as in the report: a value that was measured, or none where there are too few.
    """
    by_kind: dict[str, list[float]] = {}
    statuses: Counter[int] = Counter()
    lags: list[float] = []
    for line in read(folder / "requests.jsonl"):
        statuses[line["status"]] += 1
        if line["attempt"] == 1:
            lags.append(line["lag_ms"])
            if line["status"]:
                by_kind.setdefault(line["kind"], []).append(line["ms"])
    lines = [f"{statuses.total()} attempts: " + ", ".join(f"{n} × {s}" for s, n in statuses.most_common())]
    for kind, found in sorted(by_kind.items()):
        lines.append(f"{kind:<10} {len(found):>7} ms {_quantiles(found)}")
    return [*lines, f"{'lag':<10} {len(lags):>7} ms {_quantiles(lags)}"]


def _quantiles(found: list[float]) -> str:
    spread = Spread.of(found)
    figures = {"p50": spread.quantile(0.5), "p95": spread.quantile(0.95), "p99": spread.quantile(0.99)}
    return ", ".join(
        f"{name} {NONE if value is None else f'{value:.1f}'}"
        for name, value in {**figures, "max": spread.most}.items()
    )
