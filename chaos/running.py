"""Plays scenarios and judges them: what a script does not say because it holds for every one."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from chaos import metrics, oracle
from chaos.exposition import Page, value
from chaos.rehearsal import Rehearsal
from chaos.scenario import Scenario
from chaos.sending import Sender
from chaos.sight import Sight, opened
from chaos.verdicts import Verdict
from chaos.ways import Way

Say = Callable[[str], None]

PLOTTED: dict[str, Callable[[Page], float]] = {
    "received": partial(value, name="gateway_alerts_received_total"),
    "created": partial(value, name="gateway_crds_created_total"),
    "deduplicated": partial(value, name="gateway_alerts_deduplicated_total"),
    "fallback": partial(value, name="gateway_dedup_fallback_total"),
    "queue": partial(value, name="gateway_k8s_api_request_queue_depth"),
    "breaker Redis": opened("redis"),
    "breaker Kubernetes": opened("k8s_api"),
}
"""What the report draws: its name there → what is read from each gateway's metrics, to be summed up."""


async def play(scenario: Scenario, way: Way, results: Path, *, full: bool) -> Verdict:
    """One scenario from its components to its verdict. Nothing that goes wrong in it is raised."""
    verdict = Verdict(scenario.name, scenario.number, scenario.title, scenario.proves, full)
    if reason := await way.cannot(scenario):
        verdict.not_run = reason
        return verdict
    began = time.monotonic()
    log = results / f"{scenario.name}-load.jsonl"
    log.write_text("")
    try:
        await way.open(scenario, full=full)
        sight = Sight(way.targets)
        async with Sender([one.url for one in way.targets], log, headers=way.headers) as sender:
            rehearsal = Rehearsal(scenario, way, sight, sender, verdict, full=full)
            await _watched(rehearsal, results)
    except* Exception as failed:  # noqa: BLE001 - a scenario that breaks off is a verdict, too
        verdict.error = "; ".join(repr(one) for one in _leaves(failed))
        (results / f"{scenario.name}-error.txt").write_text("".join(traceback.format_exception(failed)))
    finally:
        await _closed(way, verdict)
    verdict.seconds = time.monotonic() - began
    (results / f"{scenario.name}-validation.json").write_text(json.dumps(verdict.to_json(), indent=1) + "\n")
    return verdict


async def campaign(
    scenarios: Sequence[Scenario], way: Way, results: Path, *, full: bool, say: Say, cooldown: float = 0.0
) -> list[Verdict]:
    """All of them, one after another, with so many seconds in between."""
    verdicts: list[Verdict] = []
    for scenario in scenarios:
        if verdicts and cooldown:
            say(f"cooling down for {cooldown:g} s")
            await asyncio.sleep(cooldown)
        say(f"{scenario.number} {scenario.name}: {scenario.title}")
        verdict = await play(scenario, way, results, full=full)
        verdicts.append(verdict)
        for line in told(verdict):
            say(line)
    return verdicts


def told(verdict: Verdict) -> list[str]:
    """A verdict for the terminal."""
    marks = {True: "ok  ", False: "FAIL"}
    lines = [
        f"    {marks[one.passed]} {one.what}: "
        f"{'never' if one.measured is None else f'{one.measured:g}'}{one.unit and ' ' + one.unit} "
        f"({one.limit})"
        for one in verdict.criteria
    ]
    lines += [f"    note {one}" for one in verdict.findings]
    if verdict.error:
        lines.append(f"    BROKEN OFF: {verdict.error}")
    if verdict.not_run:
        return [f"    NOT RUN: {verdict.not_run}"]
    return [*lines, f"    {verdict.outcome.upper()} after {verdict.seconds:.0f} s"]


async def _watched(rehearsal: Rehearsal, results: Path) -> None:
    """The script under watch, and then what holds for all of them."""
    scenario, sight = rehearsal.scenario, rehearsal.sight
    looking = asyncio.create_task(sight.look())
    try:
        await rehearsal.until(lambda: sight.together(bool, since=0.0) is not None, "metrics", seconds=20)
        # What a gateway that runs already is still busy with is no part of this.
        await rehearsal.settled(seconds=150)
        _save(results / f"{scenario.name}-baseline.json", rehearsal)
        await scenario.play(rehearsal)
        with rehearsal.phase("settling"):
            settled = await rehearsal.settled()
        rehearsal.must_hold("everything accepted is in requests, as the gateways see it", when=settled)
        _add_up(rehearsal)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        rehearsal.verdict.series = _series(sight)
        _save(results / f"{scenario.name}-post.json", rehearsal)
    await _judged(rehearsal, results)


def _add_up(rehearsal: Rehearsal) -> None:
    """received = created + deduplicated + resolved + denied + invalid, where no counter died and no answer was lost."""
    scenario, sight = rehearsal.scenario, rehearsal.sight
    if scenario.kills or scenario.ambiguous or rehearsal.sender.statuses[0]:
        return
    parts = (
        "gateway_crds_created_total",
        "gateway_alerts_deduplicated_total",
        "gateway_alerts_resolved_total",
        "gateway_policy_denials_total",
        "gateway_alerts_invalid_total",
    )
    received = sight.increase("gateway_alerts_received_total")
    rehearsal.must(
        "received less created, deduplicated, resolved, denied and invalid",
        received - sum(sight.increase(name) for name in parts),
        exactly=0,
    )


async def _judged(rehearsal: Rehearsal, results: Path) -> None:
    scenario, way = rehearsal.scenario, rehearsal.way
    log = results / f"{scenario.name}-load.jsonl"
    judgement = oracle.judge(oracle.read_log(log), await rehearsal.requests(), scenario.room)
    rehearsal.must("alerts that were accepted", judgement.accepted, at_least=1)
    rehearsal.must("accepted and lost", judgement.lost, exactly=0)
    rehearsal.must("counted too often", judgement.surplus, exactly=0)
    rehearsal.must_hold("no request contradicts itself", when=not judgement.contradictory)
    for finding in judgement.findings[:20]:
        rehearsal.found(finding)
    if judgement.unclear:
        rehearsal.found(f"{judgement.unclear} occurrences had no clear answer, and may count or not")
    if refused := sum(number for status, number in rehearsal.sender.statuses.items() if status >= 500):
        rehearsal.found(f"{refused} attempts were answered 5xx and sent again")
    complaint = await way.audit(log)
    # Where notes may be lost, a refused delivery can count twice, which the gateway's audit calls a surplus.
    lenient = scenario.room.deaths or scenario.room.notes_lost
    refused_before = any(status >= 500 for status in rehearsal.sender.statuses)
    if complaint and lenient and refused_before and judgement.exact:
        rehearsal.found(f"gateway audit: {complaint[-300:]}")
    else:
        rehearsal.must_hold("`gateway audit` finds nothing", when=not complaint)
        if complaint:
            rehearsal.found(f"gateway audit: {complaint[-600:]}")
    _healthy(rehearsal, await way.gateway_logs(), results)


def _healthy(rehearsal: Rehearsal, lines: Sequence[str] | None, results: Path) -> None:
    """Metrics and logs work throughout, and nothing fell that nobody pushed."""
    scenario = rehearsal.scenario
    if lines is None:
        rehearsal.found("the gateways' logs are not to be had here")
    else:
        (results / f"{scenario.name}-gateway.log").write_text("\n".join(lines) + "\n")
        unreadable = [line for line in lines if not _is_entry(line)]
        rehearsal.must("log lines that are no entry", len(unreadable), exactly=0)
        rehearsal.must("log lines", len(lines), at_least=1)
    gaps = rehearsal.sight.gaps()
    if scenario.kills:
        rehearsal.found(f"{len(gaps)} looks met no metrics or no life, around the kill")
    else:
        rehearsal.must("looks that met no metrics or no life", len(gaps), exactly=0)
    fallen = rehearsal.way.fallen()
    rehearsal.must("components that fell by themselves", len(fallen), exactly=0)
    for name in fallen:
        rehearsal.found(f"{name} fell")


def _is_entry(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _series(sight: Sight) -> dict[str, list[tuple[float, float]]]:
    """What the report draws, thinned to what a picture shows."""
    found = {}
    for title, read in PLOTTED.items():
        points = list(sight.lines(read))
        step = max(1, len(points) // 400)
        kept = [point for place, point in enumerate(points) if place % step == 0 or place == len(points) - 1]
        found[title] = [(round(at, 2), y) for at, y in kept]
    return found


def _save(path: Path, rehearsal: Rehearsal) -> None:
    summary = metrics.summary(rehearsal.sight, rehearsal.sender.statuses.total(), rehearsal.sender.accepted)
    path.write_text(json.dumps(summary, indent=1) + "\n")


async def _closed(way: Way, verdict: Verdict) -> None:
    try:
        await way.close()
    except Exception as error:  # noqa: BLE001 - as above
        verdict.error = verdict.error or f"clearing up: {error!r}"


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for one in group.exceptions:
        found += _leaves(one) if isinstance(one, BaseExceptionGroup) else [one]
    return found
