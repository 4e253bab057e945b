"""Folders as a load campaign leaves them, made up: small, the same each time, and as good or bad as a test wants."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BEGAN = 1_800_000_000.0
KINDS = ("new", "duplicate", "storm", "resolved", "denied", "tampered")
OUTCOMES = {
    "new": "created",
    "duplicate": "duplicate",
    "storm": "buffered",
    "resolved": "resolved",
    "denied": "denied",
}
STATUSES = {"new": 201, "denied": 403, "tampered": 401}
RARE = (
    "alerts_invalid",
    "retries",
    "redis_operation_errors",
    "k8s_api_errors",
    "dead_letters",
    "errors",
    "faults_injected",
)
BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, math.inf)


@dataclass
class Made:
    """What there is to choose."""

    name: str = "spike"
    seconds: float = 100.0
    rate: float = 20.0
    seed: int = 7
    scale: float = 1.0
    mix: dict[str, int] = field(
        default_factory=lambda: {
            "new": 40,
            "duplicate": 30,
            "storm": 10,
            "resolved": 10,
            "denied": 5,
            "tampered": 5,
        }
    )
    alerts: int = 1
    quick: float = 4.0
    """Median milliseconds of answers that wait for no write …"""
    fresh: float = 20.0
    """… and of those to new alerts."""
    refused: float = 0.0
    """Share of the webhooks whose first answer is 503."""
    healed: float = 1.0
    """Share of these whose second answer is the due one."""
    refusal: float = 5.0
    """Median milliseconds of a 503."""
    let_in: int = 0
    """Tampered webhooks that are let in."""
    mistaken: int = 0
    """Good ones that are taken for tampered."""
    through: int = 0
    """Denied ones that pass."""
    odd: tuple[int, ...] = ()
    """Statuses that the first webhooks of each kind get instead of theirs."""
    gateways: int = 1
    planned: float = 1.0
    """What the phases ask for, beside what was sent."""
    late: float = 0.0
    """Share of the webhooks that were sent two seconds late."""
    findings: list[str] | None = field(default_factory=list)
    """What the campaign found wrong; None as in folders of before it was noted."""
    injections: list[tuple[str, float, float]] = field(default_factory=list)
    """(name, begin, end) in seconds."""
    opened: list[tuple[str, float, float]] = field(default_factory=list)
    """(component, begin, end) of openings of a breaker."""
    changes: int = 0
    queries: int = 2
    fallback: int = 1
    lost: int = 0
    audited: bool = True
    audit_exit: int | None = None
    memory: float = 90e6
    growth: dict[str, float] = field(default_factory=dict)
    """Resource → share of its level by which it grows in an hour."""
    noise: float = 0.01
    every: float = 1.0
    writes: int = 700
    commands: int = 9
    """Commands of Redis an attempt."""
    cores: float = 0.2
    shift: int = 0
    """Something to add to what has no name of its own here, so that all of it differs."""
    without: tuple[str, ...] = ()
    """Files that are missing."""

    def write(self, folder: Path) -> Path:
        """Writes the folder and returns it."""
        folder.mkdir(parents=True, exist_ok=True)
        attempts = list(self._attempts())
        files = {
            "campaign.json": json.dumps(self._facts(len({one["id"] for one in attempts}))),
            "requests.jsonl": "".join(json.dumps(one) + "\n" for one in attempts),
            "samples.jsonl": "".join(json.dumps(one) + "\n" for one in self._samples(len(attempts))),
        }
        for number in range(self.gateways):
            files[f"before-{number}.prom"] = self._page(attempts, 0.0)
            files[f"after-{number}.prom"] = self._page(attempts, 1.0)
        if self.audited:
            files["audit.json"] = json.dumps(self._audit(attempts))
        for name, text in files.items():
            if name not in self.without:
                (folder / name).write_text(text)
        return folder

    def _facts(self, webhooks: int) -> dict[str, Any]:
        rate = self.planned * webhooks / self.seconds
        half = self.seconds / 2
        phases = [
            ("filling" if self.name == "soak" else "ramp", 0.0, half),
            ("steady" if self.name == "soak" else "hold", half, self.seconds),
        ]
        if self.name == "soak":
            phases = [("filling", 0.0, 600.0), ("steady", 600.0, self.seconds)]
        return {
            "name": self.name, "title": "some webhooks a second", "scale": self.scale,
            "started": BEGAN, "ended": BEGAN + self.seconds, "seed": self.seed,
            "commit": f"abc{self.seed}", "dirty": False, "version": "0.1.0",
            "environment": {"cores": 2 + self.shift, "cpu": "a processor",
                            "memory_bytes": (24 << 30) + self.shift, "python": "3.11.7",
                            "redis": "6.2.14", "kubernetes": "v1.34.4", "shared": "the sender, Redis, etcd"},
            "gateways": [{"url": f"http://127.0.0.1:{number}"} for number in range(self.gateways)],
            "settings": {"server": {"ack_wait": "250ms"}}, "own": True,
            "phases": [
                {"name": name, "start": BEGAN + begin, "end": BEGAN + end, "rate_from": rate, "rate_to": rate}
                for name, begin, end in phases
            ],
            "injections": [
                {"name": name, "start": BEGAN + begin, "end": BEGAN + end,
                 "detail": {"faults": [{"target": "redis", "mode": "error", "pct": 20}]}}
                for name, begin, end in self.injections
            ],
            "mix": self.mix, "workers": 2 + self.shift, "exit": int(bool(self.findings)),
            **({} if self.findings is None else {"findings": self.findings}),
        }  # fmt: skip

    def _attempts(self) -> Iterator[dict[str, Any]]:
        draws = random.Random(self.seed)
        left = {"let_in": self.let_in, "mistaken": self.mistaken, "through": self.through}
        odd = {kind: list(self.odd) for kind in self.mix}
        for number in range(round(self.rate * self.seconds)):
            at = BEGAN + number / self.rate
            kind = draws.choices(list(self.mix), list(self.mix.values()))[0]
            one = {
                "at": at,
                "lag_ms": 2000.0
                if number < self.late * self.rate * self.seconds
                else round(draws.random() * (1 + self.shift), 3),
                "kind": kind,
                "id": f"w{number}",
                "attempt": 1,
                "alerts": self.alerts,
                "error": "",
            }
            answer = self._answer(draws, kind, left)
            if odd[kind]:
                answer["status"] = odd[kind].pop()
            if draws.random() < self.refused:
                yield {**one, "status": 503, "outcome": "", "ms": self._took(draws, self.refusal)}
                if draws.random() >= self.healed:
                    answer = {"status": 503, "outcome": "", "ms": self._took(draws, self.refusal)}
                yield {**one, "at": at + 0.4, "attempt": 2, **answer}
            else:
                yield {**one, **answer}

    def _answer(self, draws: random.Random, kind: str, left: dict[str, int]) -> dict[str, Any]:
        status, outcome = STATUSES.get(kind, 202), OUTCOMES.get(kind, "")
        if kind == "tampered" and left["let_in"]:
            left["let_in"] -= 1
            status, outcome = 202, "created"
        elif kind == "denied" and left["through"]:
            left["through"] -= 1
            status, outcome = 201, "created"
        elif kind == "new" and left["mistaken"]:
            left["mistaken"] -= 1
            status, outcome = 401, ""
        return {
            "status": status,
            "outcome": outcome,
            "ms": self._took(draws, self.fresh if kind == "new" else self.quick),
        }

    def _took(self, draws: random.Random, median: float) -> float:
        return round(median * math.exp(draws.gauss(0, 0.4)), 3)

    def _samples(self, attempts: int) -> Iterator[dict[str, Any]]:
        draws = random.Random(self.seed + 1)
        for number in range(int(self.seconds / self.every) + 1):
            at = number * self.every
            part = at / self.seconds

            def level(name: str, value: float, at: float = at) -> float:
                return value * (1 + self.growth.get(name, 0.0) * at / 3600 + draws.gauss(0, self.noise))

            metrics: dict[str, float] = {
                "gateway_unconfirmed_alerts": 3 + number % 4 + self.shift,
                "gateway_k8s_api_request_queue_depth": 1 + number % 2,
            }
            for component in ("redis", "k8s_api"):
                mine = [(begin, end) for name, begin, end in self.opened if name == component]
                closed = [end - begin for begin, end in mine if end <= at]
                labels = f'{{component="{component}"}}'
                metrics[f"gateway_circuit_breaker_state{labels}"] = float(
                    any(begin <= at < end for begin, end in mine)
                )
                metrics[f"gateway_recovery_duration_seconds_count{labels}"] = len(closed)
                metrics[f"gateway_recovery_duration_seconds_sum{labels}"] = sum(closed)
            yield {
                "at": BEGAN + at,
                "gateways": [
                    {"cpu_seconds": 5 + self.cores * at, "rss_bytes": level("memory", self.memory),
                     "fds": round(level("fds", 40 + self.shift)), "threads": 5 + self.shift,
                     "tasks": round(level("tasks", 60 + self.shift)),
                     "connections": round(level("connections", 50 + self.shift)), "metrics": metrics}
                ]
                * self.gateways,
                "redis": {"used_memory": level("redis_memory", 5e6 + 1e5 * self.shift),
                          "keys": round(level("keys", 900 + 10 * self.shift)),
                          "clients": 8 + self.shift, "commands": 100 + part * attempts * self.commands,
                          "cpu_seconds": 1 + self.cores / 3 * at},
                "kubernetes": {"cpu_seconds": 9 + self.cores * 2 * at, "rss_bytes": 400e6 + 1e6 * self.shift,
                               "etcd_cpu_seconds": self.cores / 2 * at},
                "sender": {"cpu_seconds": self.cores / 4 * at},
            }  # fmt: skip

    def _page(self, attempts: list[dict[str, Any]], part: float) -> str:
        count = {kind: sum(one["kind"] == kind and one["status"] < 500 for one in attempts) for kind in KINDS}
        received = sum(count.values()) - count["tampered"]
        grown: dict[str, float] = {
            "gateway_alerts_received_total": received * self.alerts,
            "gateway_alerts_processed_total": received * self.alerts,
            "gateway_crds_created_total": count["new"],
            'gateway_alerts_deduplicated_total{reason="duplicate"}': count["duplicate"] * self.alerts,
            'gateway_alerts_deduplicated_total{reason="storm"}': count["storm"],
            "gateway_alerts_resolved_total": count["resolved"],
            'gateway_policy_denials_total{reason="test"}': count["denied"],
            'gateway_k8s_api_queries_total{reason="redis_timeout"}': self.queries,
            'gateway_dedup_fallback_total{reason="redis_timeout"}': self.fallback,
            'gateway_circuit_breaker_state_changes_total{component="redis"}': self.changes,
            'gateway_k8s_api_requests_total{verb="create",code="201"}': self.writes * 0.6,
            'gateway_k8s_api_requests_total{verb="patch",code="200"}': self.writes * 0.4,
            'gateway_k8s_api_requests_total{verb="list",code="200"}': 4 + self.shift,
            'gateway_k8s_api_requests_total{verb="event",code="201"}': 10 + self.shift,
            'gateway_k8s_api_requests_total{verb="delete",code="200"}': self.shift,
            'gateway_k8s_api_requests_total{verb="probe",code="201"}': self.shift,
            'gateway_circuit_breaker_state_changes_total{component="k8s_api"}': self.shift,
            'gateway_breaker_fastfail_total{component="redis"}': self.shift,
            'gateway_breaker_fastfail_total{component="k8s_api"}': self.shift,
            **{f"gateway_{name}_total": self.shift for name in RARE},
            'gateway_token_validations_total{result="valid"}': received,
            'gateway_token_validations_total{result="invalid"}': count["tampered"],
        }
        lines = []
        families = {name.partition("{")[0] for name in grown}
        lines += [f"# TYPE {family} counter" for family in sorted(families)]
        lines += [f"{name} {11 + number * part}" for name, number in grown.items()]
        name, labels = "gateway_request_duration_seconds", 'route="/v1/webhooks/prometheus"'
        seconds = [one["ms"] / 2000 for one in attempts] if part else []
        lines.append(f"# TYPE {name} histogram")
        for bound in BUCKETS:
            within = sum(one <= bound for one in seconds)
            lines.append(f'{name}_bucket{{{labels},le="{"+Inf" if math.isinf(bound) else bound}"}} {within}')
        lines += [f"{name}_count{{{labels}}} {len(seconds)}", f"{name}_sum{{{labels}}} {sum(seconds)}"]
        return "\n".join(lines) + "\n"

    def _audit(self, attempts: list[dict[str, Any]]) -> dict[str, Any]:
        taken = sum(200 <= one["status"] < 300 for one in attempts) * self.alerts
        wrong = bool(self.lost or self.shift)
        return {
            "clean": not wrong, "deliveries": len(attempts), "fingerprints": 10 + self.seed,
            "accepted": {"low": taken, "high": taken}, "counted": taken - self.lost, "lost": self.lost,
            "inWindows": 0, "surplus": self.shift, "openTwice": self.shift, "findings": [], "faults": [],
            "exit": int(wrong) if self.audit_exit is None else self.audit_exit,
        }  # fmt: skip
