"""`gateway explain`: what the gateway would make of a webhook body, without a gateway, Redis or a cluster."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import arguments, output
from gateway.cli.output import CommandError, Exit
from gateway.errors import PayloadError

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.intake.explanation import Explanation
    from gateway.intake.reading import Reading
    from gateway.model import Hold

EXAMPLES = """\
examples:
  gateway explain webhook.json
  gateway explain -v --config gateway.yaml webhook.json     with the requests it would make, as YAML
  echo '{"alerts":[{"labels":{"alertname":"A","namespace":"n"}}]}' | gateway explain -
  gateway explain --output json webhook.json | jq '.alerts[].fingerprint'

It is offline: whether an alert is known already, whether its group has an open window, which namespaces exist and
what environment their labels name, only a running gateway sees. So each firing alert counts as new, and alerts are a
storm where this body alone brings enough of a group. `--identity` and `--source` are what rules with those names
would match.

Exit code 0: all alerts would be taken; 1: the body, or one of its alerts, would be refused.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "explain",
        help="what a webhook body would lead to, offline",
        description="Say what the gateway would make of a webhook body, and which rule decides each part.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="a webhook body; - for standard input")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="each alert at length, with its request as YAML"
    )
    parser.add_argument("--identity", default="", metavar="NAME", help="who would have sent it")
    parser.add_argument("--source", default="", metavar="ADDRESS", help="from where it would have come")
    arguments.add_config_options(parser)
    output.add_output_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Exit:
    """Explain each alert; 1 if any would be refused, or the body as a whole."""
    settings = arguments.load_settings(args)
    body = _body(args.file)
    try:
        explained = explained_alerts(body, settings, identity=args.identity, source=args.source)
    except PayloadError as reason:
        status = 400 if type(reason).__name__ == "MalformedBody" else 422
        if args.output == "json":
            output.print_json({"status": status, "fault": str(reason), "alerts": []})
        else:
            output.error(f"{args.file}: the gateway would answer {status}: {reason}")
        return Exit.FINDING
    if args.output == "json":
        output.print_json({"fault": None, "alerts": explained})
    elif args.verbose:
        _print_at_length(explained)
    else:
        _print_table(explained)
    return Exit.OK if all(alert["fate"] == "taken" for alert in explained) else Exit.FINDING


def _body(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as reason:
        raise CommandError(f"cannot read {file}: {reason.strerror}") from reason


def explained_alerts(
    body: bytes, settings: Settings, *, identity: str = "", source: str = ""
) -> list[dict[str, Any]]:
    """Return a dict for each alert of the body, in order; raises `PayloadError` for the body as a whole."""
    from gateway.intake.explanation import explain
    from gateway.intake.payload import decode
    from gateway.intake.reading import Intake, Rejected

    webhook = decode(body)
    intake = Intake(settings, lambda _namespace: None)
    received_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    told = explain(intake, webhook, received_at=received_at, identity=identity, source=source)
    readings = intake.validate(webhook, received_at=received_at, identity=identity, source=source)
    sound = [reading for reading in readings if not isinstance(reading, Rejected)]
    firing = Counter(reading.fingerprint for reading in sound if not reading.resolved)
    held = _held(told)
    explained = []
    for explanation, reading in zip(told, readings, strict=True):
        alert = _decisions(explanation)
        if not isinstance(reading, Rejected) and alert["fate"] == "taken":
            alert |= _holding(explanation, held.get(reading.group))
            makes_one = not (reading.resolved or alert["storm"])
            times = firing[reading.fingerprint]
            alert["request"] = _request(reading, settings, times) if makes_one else None
        explained.append(alert)
    return explained


def _decisions(told: Explanation) -> dict[str, Any]:
    decided: dict[str, Any] = {"position": told.position, "fate": told.fate.value}
    if told.detail:
        decided["detail"] = told.detail
    if told.identity is None or told.classification is None or told.policy is None:
        return decided
    problem, kind, judgement = told.identity, told.classification, told.policy
    return decided | {
        "alertname": told.alertname,
        "namespace": told.namespace,
        "status": "resolved" if told.resolved else "firing",
        "startsAt": told.starts_at,
        "dated": told.dated,
        "fingerprint": problem.fingerprint,
        "fingerprintOf": problem.basis.value,
        "fingerprintRule": problem.rule,
        "group": problem.group,
        "resource": problem.resource or None,
        "severity": kind.severity.value,
        "severityFrom": kind.severity_basis.value,
        "environment": kind.environment,
        "environmentFrom": kind.environment_basis.value,
        "priority": kind.priority,
        "priorityRule": kind.priority_rule,
        "policy": "allow" if judgement.allowed else "deny",
        "policyRule": judgement.rule,
        "policyReason": judgement.reason or None,
    }


def _held(told: list[Explanation]) -> dict[str, tuple[Hold, set[str]]]:
    """Return for each group how its window would be opened, and the fingerprints that would be held in it."""
    windows: dict[str, tuple[Hold, set[str]]] = {}
    for alert in told:
        if alert.hold is not None and alert.identity is not None:
            windows.setdefault(alert.identity.group, (alert.hold, set()))[1].add(alert.identity.fingerprint)
    return windows


def _holding(told: Explanation, window: tuple[Hold, set[str]] | None) -> dict[str, Any]:
    if told.hold is None or window is None:
        mode = "immediate" if told.hold_rule else None
        return {"mode": mode, "modeRule": told.hold_rule or None, "hold": None, "storm": False}
    opened, members = window
    return {
        "mode": "hold",
        "modeRule": told.hold_rule,
        "hold": {
            "threshold": told.hold.threshold,
            "hold": _duration(told.hold.hold),
            "inactivity": _duration(told.hold.inactivity),
            "maxWindow": _duration(told.hold.max_window),
            "emit": "on_threshold" if told.hold.early else "on_close",
        },
        # A window goes on as its first alert opened it.
        "storm": len(members) >= opened.threshold,
    }


def _duration(milliseconds: int) -> str:
    from gateway.config.quantities import render_duration

    return render_duration(milliseconds / 1000)


def _request(reading: Reading, settings: Settings, occurrences: int) -> dict[str, Any]:
    """Return the object that the first such webhook would create, as far as that can be told offline."""
    from gateway.kube import objects

    signal = reading.signal()
    fallback = settings.kubernetes.fallback_namespace
    namespace = signal.namespace if objects.is_namespace(signal.namespace) else fallback
    marks = {signal.fingerprint: {"<process>.1": f"0-{occurrences}"}}
    body = objects.create_body(
        signal,
        namespace=namespace,
        name=objects.request_name(signal.alertname, signal.fingerprint, 1),
        generation=1,
        applied=json.dumps(marks),
        count=occurrences,
        first_seen=signal.received_at,
        last_seen=signal.received_at,
    )
    request: dict[str, Any] = json.loads(body)
    return request


def _print_table(explained: list[dict[str, Any]]) -> None:
    output.table(
        (
            "alert",
            "namespace",
            "fate",
            "fingerprint",
            "by",
            "resource",
            "severity",
            "environment",
            "priority",
            "mode",
        ),
        [
            (
                alert.get("alertname", f"#{alert['position']}"),
                alert.get("namespace", ""),
                alert["fate"],
                alert.get("fingerprint", "")[:10],
                alert.get("fingerprintOf", ""),
                alert.get("resource") or "",
                alert.get("severity", ""),
                alert.get("environment", ""),
                alert.get("priority", ""),
                _mode(alert),
            )
            for alert in explained
        ],
    )
    for alert in explained:
        if alert["fate"] == "invalid":
            output.say(f"invalid: {output.printable(alert['detail'])}")
        elif alert["fate"] == "denied":
            name = output.printable(alert["alertname"])
            output.say(f"denied: {name} by {alert['policyRule']}, reason {alert['policyReason']}")


def _mode(alert: dict[str, Any]) -> str:
    if alert.get("status") == "resolved":
        return "resolved"
    if alert.get("storm"):
        return "storm"
    return f"hold {alert['hold']['hold']}" if alert.get("hold") else alert.get("mode") or ""


def _print_at_length(explained: list[dict[str, Any]]) -> None:
    import yaml

    for alert in explained:
        request = alert.pop("request", None)
        output.say(f"# alert {alert['position']}")
        output.say(yaml.safe_dump(alert, sort_keys=False, allow_unicode=True, width=1000).rstrip())
        if alert.get("storm"):
            output.say("# it would be a member of an aggregated request")
        if request is not None:
            after = f" after {alert['hold']['hold']}, unless it becomes a storm" if alert["hold"] else ""
            output.say(
                f"# the request it would make{after}; the namespace must exist, else the fallback is used"
            )
            output.say(yaml.safe_dump(request, sort_keys=False, allow_unicode=True, width=1000).rstrip())
        output.say("---")
