"""What an alert costs: calls to Kubernetes, commands of Redis, processor time of everybody, and memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chaos.load.proof.document import Cell, Section, Table
from chaos.load.proof.figures import Figure, Unit
from chaos.load.proof.folder import Campaign, Sample
from chaos.load.proof.readings import Reading, increase, of_gateways, of_part, points
from chaos.load.proof.spread import share
from chaos.load.proof.timeline import costs

RECEIVED = "gateway_alerts_received_total"
REQUESTS = "gateway_k8s_api_requests_total"
WRITES = ("create", "patch", "delete")
READS = ("get", "list", "watch")

PROCESSOR: tuple[tuple[str, Reading], ...] = (
    ("gateway", of_gateways("cpu_seconds")),
    ("Redis", of_part("redis", "cpu_seconds")),
    ("kube-apiserver", of_part("kubernetes", "cpu_seconds")),
    ("etcd", of_part("kubernetes", "etcd_cpu_seconds")),
    ("the sender", of_part("sender", "cpu_seconds")),
)
MEMORY: tuple[tuple[str, Reading], ...] = (
    ("gateway", of_gateways("rss_bytes")),
    ("Redis", of_part("redis", "used_memory")),
    ("kube-apiserver", of_part("kubernetes", "rss_bytes")),
)


def per_alert(campaign: Campaign, total: float | None) -> float | None:
    """The share of one alert that a gateway received."""
    received = campaign.grown(RECEIVED)
    return None if total is None or not received else share(total, received)


def kubernetes(campaign: Campaign, verbs: Iterable[str]) -> float | None:
    """Calls with these verbs."""
    found = [campaign.grown(REQUESTS, verb=verb) for verb in verbs]
    return None if None in found else sum(one or 0.0 for one in found)


def redis_commands(campaign: Campaign) -> float | None:
    """Commands that Redis processed."""
    return increase(points(campaign.samples or (), of_part("redis", "commands")))


def section(campaign: Campaign) -> Section:
    """All of it, in all and for one alert."""
    received = campaign.grown(RECEIVED)
    sentences = []
    if received:
        writes = Figure(per_alert(campaign, kubernetes(campaign, WRITES)), Unit.EACH)
        commands = Figure(per_alert(campaign, redis_commands(campaign)), Unit.EACH)
        seconds = increase(points(campaign.samples or (), of_gateways("cpu_seconds")))
        each = per_alert(campaign, seconds)
        spent = Figure(None if each is None else each * 1e6, Unit.MICROSECONDS)
        sentences.append(
            f"Of {received:,.0f} alerts each took {writes} writes to Kubernetes, {commands} commands of Redis and "
            f"{spent} of the gateway's processor time."
        )
    else:
        sentences.append(
            "What one alert takes is not measured: the gateways' metrics before and after are missing."
        )
    tables = []
    if campaign.deltas is not None:
        tables.append(
            Table(
                "kubernetes",
                "Calls to the Kubernetes API",
                ("calls", "in all", "an alert"),
                list(_calls(campaign)),
            )
        )
    if campaign.samples:
        columns = ("of", "in all", "cores on average", "an alert")
        tables.append(Table("processor", "Processor time", columns, list(_processor(campaign))))
        columns = ("of", "first", "last", "highest")
        tables.append(Table("memory", "Memory", columns, list(_memory(campaign.samples))))
    remark = "Alerts are those that the gateways received: of webhooks that were answered 2xx, 403 or 422."
    return Section("cost", "Cost", sentences, tables, costs(campaign, PROCESSOR, MEMORY), remark)


def _calls(campaign: Campaign) -> Iterable[Sequence[Cell]]:
    for title, verbs in (
        ("writes", WRITES),
        *((f"… {verb}", (verb,)) for verb in WRITES),
        ("reads", READS),
        ("events", ("event",)),
        ("probes of a breaker", ("probe",)),
    ):
        total = kubernetes(campaign, verbs)
        yield (title, Figure(total), Figure(per_alert(campaign, total), Unit.EACH))
    commands = redis_commands(campaign)
    if commands is not None:
        yield ("commands of Redis", Figure(commands), Figure(per_alert(campaign, commands), Unit.EACH))


def _processor(campaign: Campaign) -> Iterable[Sequence[Cell]]:
    for name, read in PROCESSOR:
        found = points(campaign.samples or (), read)
        seconds = increase(found)
        if seconds is None:
            continue
        lasted = found[-1][0] - found[0][0]
        each = per_alert(campaign, seconds)
        yield (
            name,
            Figure(seconds, Unit.SECONDS),
            Figure(share(seconds, lasted), Unit.CORES),
            Figure(None if each is None else each * 1e6, Unit.MICROSECONDS),
        )


def _memory(samples: Sequence[Sample]) -> Iterable[Sequence[Cell]]:
    for name, read in MEMORY:
        values = [value for _, value in points(samples, read)]
        if values:
            yield (name, *(Figure(one, Unit.BYTES) for one in (values[0], values[-1], max(values))))
