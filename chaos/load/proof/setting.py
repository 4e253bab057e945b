"""Where and how it was measured: the machine, the components, the commit, the plan, the configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from chaos.load.proof.document import Cell, Section, Table
from chaos.load.proof.figures import Figure, Unit, round_figure
from chaos.load.proof.folder import Campaign, Facts

_SIZES = ("memory_bytes",)


def section(campaign: Campaign) -> Section:
    """All of it, as the campaign noted it."""
    facts = campaign.facts
    tables = [
        Table("campaign", "The campaign", ("what", "is"), list(_campaign(facts))),
        Table("environment", "The environment", ("what", "is"), list(_environment(facts.environment))),
    ]
    if facts.injections:
        rows = [
            (
                one.name,
                Figure(one.start - facts.started, Unit.SECONDS),
                Figure(one.end - one.start, Unit.SECONDS),
                told(one.detail),
            )
            for one in facts.injections
        ]
        tables.append(
            Table("injections", "What was injected", ("name", "after", "for", "what"), rows, wide=True)
        )
    settings = [(path, value) for path, value in _flat(facts.settings)]
    if settings:
        tables.append(
            Table(
                "settings",
                "The gateway's configuration, as it was given",
                ("key", "value"),
                settings,
                wide=True,
            )
        )
    return Section("environment", "Environment", [_sentence(facts)], tables)


def _sentence(facts: Facts) -> str:
    machine = facts.environment
    said = "Components were started for this campaign." if facts.own else "The gateway was there before."
    shared = machine.get("shared")
    return f"{said} On the same cores: {shared}." if shared else said


def _campaign(facts: Facts) -> Iterable[Sequence[Cell]]:
    yield ("began", _when(facts.started))
    yield ("ended", _when(facts.ended))
    yield ("lasted", Figure(facts.ended - facts.started, Unit.SECONDS))
    yield ("scale", Figure(facts.scale, Unit.SHARE))
    yield ("version", facts.version or "unknown")
    yield ("commit", commit(facts))
    yield ("gateways", Figure(len(facts.gateways)))
    yield ("processes that send", Figure(facts.workers))
    if facts.seed is not None:
        yield ("seed", Figure(facts.seed))
    if facts.mix:
        whole = sum(facts.mix.values()) or 1.0
        yield (
            "mix",
            ", ".join(
                f"{kind} {round_figure(Figure(part / whole, Unit.SHARE))}" for kind, part in facts.mix.items()
            ),
        )


def commit(facts: Facts) -> str:
    """Of what was measured."""
    if not facts.commit:
        return "unknown"
    return f"{facts.commit} with changes that are not committed" if facts.dirty else facts.commit


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _environment(environment: Mapping[str, Any]) -> Iterable[Sequence[Cell]]:
    for name, found in environment.items():
        title = name.removesuffix("_bytes").replace("_", " ")
        if name in _SIZES and isinstance(found, int | float):
            yield (title, Figure(float(found), Unit.BYTES))
        elif isinstance(found, int | float) and not isinstance(found, bool):
            yield (title, Figure(float(found)))
        else:
            yield (title, "unknown" if found is None else str(found))


def told(detail: Any) -> str:
    """Nested values as words: `target redis, mode error, pct 20`."""
    if detail is None:
        return ""
    if isinstance(detail, Mapping):
        parts = [(name, told(found)) for name, found in detail.items()]
        return parts[0][1] if len(parts) == 1 else ", ".join(f"{name} {found}" for name, found in parts)
    if isinstance(detail, list | tuple):
        return "; ".join(told(one) for one in detail)
    return str(detail)


def _flat(settings: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, str]]:
    for name, found in settings.items():
        path = f"{above}{name}"
        if isinstance(found, Mapping):
            yield from _flat(found, f"{path}.")
        else:
            yield path, found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
