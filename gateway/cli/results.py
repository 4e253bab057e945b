"""What `gateway send` and `gateway replay` say at their end: what became of the alerts, and the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.cli import output
from gateway.cli.output import Exit
from gateway.cli.sending import Tally


def print_summary(form: str, tally: Tally, seconds: float, more: Mapping[str, Any] | None = None) -> None:
    """Print the summary as a `table` or as `json`; `more` are further members of the latter."""
    latencies = sorted(tally.latencies)
    quantiles = {
        name: round(1000 * latencies[min(len(latencies) - 1, int(share * len(latencies)))], 1)
        for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        if latencies
    }
    statuses = {"none" if status is None else str(status): n for status, n in tally.statuses.items()}
    summary: dict[str, Any] = {
        "alerts": tally.alerts,
        "webhooks": tally.webhooks,
        "attempts": tally.attempts,
        "outcomes": dict(tally.outcomes.most_common()),
        "statuses": statuses,
        "requests": list(tally.requests),
        "seconds": round(seconds, 3),
        "alertsPerSecond": round(tally.alerts / seconds, 1) if seconds else 0.0,
        "latencyMs": quantiles,
        "failure": tally.failure or None,
        **(more or {}),
    }
    if form == "json":
        output.print_json(summary)
        return
    output.table(("outcome", "alerts"), tally.outcomes.most_common())
    if tally.outcomes["buffered"]:
        output.say("buffered: stored, and held in a window; `gateway storms` shows until when")
    times = ", ".join(f"{name} {value} ms" for name, value in quantiles.items())
    output.say(
        f"{output.counted(tally.alerts, 'alert')} in {output.counted(tally.webhooks, 'webhook')}, "
        f"{output.counted(tally.attempts, 'attempt')}, {seconds:.1f} s" + (f" ({times})" if times else "")
    )
    named = list(tally.requests)
    if named:
        output.say("requests: " + ", ".join(named[:5]) + (f" and {len(named) - 5} more" if named[5:] else ""))


def judge(url: str, tally: Tally) -> Exit:
    """Return 0 if every webhook and every alert was taken; else say what was not, and return its exit code."""
    if not tally.not_taken and not tally.refused:
        return Exit.OK
    if set(tally.statuses) == {None}:
        output.error(
            f"no answer from {url}: {tally.failure}",
            hint="Start a gateway (`gateway dev` has everything embedded), or say where it is with --url.",
        )
        return Exit.UNREACHABLE
    hint = "Give a token with --token or GATEWAY_TOKEN." if 401 in tally.statuses else ""
    failure = f": {tally.failure}" if tally.failure else ""
    what = (
        f"{tally.not_taken} of {tally.alerts} alerts"
        if tally.not_taken
        else f"{tally.refused} of {tally.webhooks} webhooks"
    )
    output.error(f"{what} were not taken{failure}", hint=hint)
    return Exit.FINDING
