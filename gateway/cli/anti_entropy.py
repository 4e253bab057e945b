"""`gateway audit --alertmanager`: looks at what fires and at what is open, and prints how they differ."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.cli import output
from gateway.cli.alertmanager import Alertmanager
from gateway.cli.firing import Comparison, Question, State, compare
from gateway.cli.output import Exit
from gateway.cli.status import idle
from gateway.cli.stored import environments, open_connection, stored_requests
from gateway.errors import KubeForbidden
from gateway.intake.reading import Intake

if TYPE_CHECKING:
    from gateway.cli.holdings import Request
    from gateway.config.settings import Settings
    from gateway.kube.connection import Connection

POLL = 1.0
"""Seconds between two looks while waiting."""


def run(args: argparse.Namespace, settings: Settings) -> Exit:
    """Compare, print the judgement, and return 1 if something fires that no request, or more than one, holds."""
    alertmanager = Alertmanager(args.alertmanager, token=args.alertmanager_token)
    comparison = asyncio.run(_look(args, settings, alertmanager))
    if args.output == "json":
        output.print_json(as_json(comparison, alertmanager.shown))
    else:
        _print(comparison, verbose=args.verbose)
    return Exit.OK if comparison.clean else Exit.FINDING


async def _look(args: argparse.Namespace, settings: Settings, alertmanager: Alertmanager) -> Comparison:
    """Look until nothing is missing or pending any more, or the time is up; at least once."""
    question = Question(
        grace=args.grace,
        receivers=frozenset(args.receiver),
        include=frozenset(args.include),
        identity=args.identity,
        source=args.source,
    )
    connection = await open_connection(settings)
    deadline = time.monotonic() + args.wait
    try:
        intake = await _intake(connection, settings)
        with output.progress("waiting until what fires has its requests", None) as advance:
            for look in itertools.count(1):
                alerts = await alertmanager.firing(args.receiver)
                requests = await stored_requests(connection, settings)
                comparison = compare(alerts, requests, intake, question, now=datetime.now(UTC))
                open_ends = comparison.total(State.MISSING) + comparison.total(State.PENDING)
                settled = not open_ends and (args.url is None or await idle(args.url, args.token))
                if time.monotonic() + POLL > deadline or (comparison.clean and settled):
                    break
                advance(look, f"{output.counted(open_ends, 'alert')} without a request yet")
                await asyncio.sleep(POLL)
    finally:
        await connection.close()
    return comparison


async def _intake(connection: Connection, settings: Settings) -> Intake:
    """Return the gateway's own reading of alerts; environments of namespaces only where the policy may ask."""
    known: dict[str, str] = {}
    if settings.policy.default == "deny" or any(rule.action == "deny" for rule in settings.policy.rules):
        try:
            known = await environments(connection, settings.classify.environment_label)
        except KubeForbidden:
            output.warn("namespaces cannot be listed: policy rules about environments may be judged wrongly")
    return Intake(settings, known.get)


def as_json(comparison: Comparison, url: str) -> dict[str, Any]:
    """Return the judgement as scripts read it."""
    return {
        "clean": comparison.clean,
        "alertmanager": url,
        "firing": len(comparison.verdicts),
        **{_camel(state): comparison.total(state) for state in State},
        "alerts": [
            {
                "state": verdict.state.value,
                "fingerprint": verdict.fingerprint or None,
                "labels": verdict.alert.labels,
                "startsAt": verdict.alert.starts_at,
                "receivers": list(verdict.alert.receivers),
                "requests": list(verdict.requests),
                "detail": verdict.detail,
            }
            for verdict in comparison.verdicts
        ],
        "stale": [
            {
                "request": request.name,
                "signal": request.signal,
                "fingerprints": sorted(request.occurrences),
                "occurrences": request.count,
                "lastSeen": request.last_seen or None,
                "resolvedAt": request.resolved_at or None,
            }
            for request in comparison.stale
        ],
        "unreadable": [
            {"request": request.name, "fault": request.fault} for request in comparison.unreadable
        ],
    }


def _camel(state: State) -> str:
    first, *rest = state.value.split()
    return first + "".join(word.capitalize() for word in rest)


def _print(comparison: Comparison, *, verbose: bool) -> None:
    shown = [verdict for verdict in comparison.verdicts if verbose or verdict.state is not State.HELD]
    if shown:
        output.table(
            ("state", "alert", "namespace", "since", "receiver", "fingerprint", "detail"),
            [
                (
                    verdict.state,
                    verdict.alert.labels.get("alertname", ""),
                    verdict.alert.labels.get("namespace", ""),
                    verdict.alert.starts_at,
                    ", ".join(verdict.alert.receivers),
                    verdict.fingerprint[:10] or "unknown",
                    ", ".join(verdict.requests) or verdict.detail,
                )
                for verdict in shown
            ],
        )
    if comparison.stale:
        output.table(
            ("open request", "signal", "occurrences", "last seen", "resolved"),
            [_stale_row(request) for request in comparison.stale],
            title="Open requests of what fires no more:",
        )
    if comparison.unreadable:
        output.table(
            ("open request", "fault"), [(request.name, request.fault) for request in comparison.unreadable]
        )
    output.say(_verdict(comparison))


def _stale_row(request: Request) -> tuple[object, ...]:
    return (request.name, request.signal, request.count, request.last_seen, request.resolved_at or "no")


def _verdict(comparison: Comparison) -> str:
    """Return the line that sums it up: what is wrong, then all that was seen."""
    totals = ", ".join(f"{number} {state}" for state in State if (number := comparison.total(state)))
    seen = f"{len(comparison.verdicts)} firing" + (f" ({totals})" if totals else "")
    stale = output.counted(len(comparison.stale), "open request")
    seen += f", {stale} of what fires no more."
    if comparison.clean:
        pending = comparison.total(State.PENDING)
        return f"Nothing is missing{' yet' if pending else ''}: {seen}"
    without = comparison.total(State.MISSING) + comparison.total(State.INVALID)
    twice = comparison.total(State.TWICE)
    wrong = [f"{output.counted(without, 'alert')} without an open request"] if without else []
    wrong += [f"{output.counted(twice, 'alert')} with more than one"] if twice else []
    return f"{' and '.join(wrong).capitalize()}: {seen}"
