"""What was accepted against what the requests hold: the arithmetic of `gateway audit`, without any I/O.

This is the oracle that the counting protocol is tested with, so it shares no code with it: it takes fingerprints
from the answers, never computes one, and reads the stored objects as plain JSON.

A delivery's attempts bound how often its alert may be counted:

- answered 2xx and counted: once, for certain;
- answered 503: whatever was taken is noted under the body, and an identical retry takes the note instead of
  counting again, so any run of 503s and the attempt after it count once together; a 503 that nobody retried counts
  at most once;
- no answer, or an answer that a proxy may have given after the gateway was done (5xx): at most once, and the note of
  a 503 before it may be used up;
- any other answer (denied, invalid, resolved, 4xx), or no connection: not at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

import msgspec

from gateway.cli.holdings import ProblemKey, Request, problem_key
from gateway.cli.sentlog import Attempt

_COUNTED = frozenset({"created", "duplicate", "buffered", "queued"})


class Finding(StrEnum):
    """What can be wrong with the requests of one fingerprint."""

    LOSS = "loss"
    SURPLUS = "surplus"
    OPEN_TWICE = "open twice"


class Span(msgspec.Struct, frozen=True):
    """How often something may have been counted: at least `low`, at most `high`."""

    low: int = 0
    high: int = 0

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}..{self.high}"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement on one fingerprint."""

    fingerprint: str
    """Empty where nothing tells which fingerprint these labels have."""
    alertname: str
    namespace: str
    accepted: Span
    counted: int
    difference: int
    """How many are missing (negative) or too many (positive), beyond what `accepted` leaves open."""
    requests: tuple[str, ...]
    findings: tuple[Finding, ...]
    in_window: int = 0
    """Of those missing, how many may still be held: their last answer was `buffered`."""
    detail: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement on all of them."""

    rows: tuple[Row, ...]
    faults: tuple[tuple[str, str], ...]
    """(request, why) for objects that contradict themselves."""
    deliveries: int

    @property
    def clean(self) -> bool:
        return not self.faults and not any(row.findings for row in self.rows)

    @property
    def in_windows(self) -> int:
        """How many of those that are missing may still be held in windows."""
        return sum(row.in_window for row in self.rows)

    def total(self, finding: Finding) -> int:
        """How many occurrences are lost or too many, or how many fingerprints are open twice."""
        concerned = [row for row in self.rows if finding in row.findings]
        if finding is Finding.OPEN_TWICE:
            return len(concerned)
        return sum(abs(row.difference) for row in concerned)


def delivered(attempts: Sequence[Attempt]) -> Span:
    """Return how often one alert of one delivery may have been counted; `attempts` in order."""
    low = high = 0
    noted = False
    for attempt in attempts:
        status = attempt.status
        if not attempt.connected:
            continue
        if status == 503:
            noted = True
            continue
        if status is not None and 200 <= status < 300 and attempt.outcome is not None:
            if attempt.outcome in _COUNTED:
                low, high, noted = low + 1, high + 1, False
        elif status is None or status >= 500 or 200 <= status < 300:
            high, noted = high + 1, False
    # A 503 that was never followed up: a part may have been taken before it.
    return Span(low, high + 1 if noted else high)


def judge(attempts: Iterable[Attempt], requests: Sequence[Request], *, exclusive: bool = False) -> Report:
    """Compare what was sent with what is stored.

    With `exclusive` nobody else sent alerts, so a request whose fingerprint the logs do not name is a surplus;
    without it such requests are somebody else's, and left out.
    """
    sequences = _sequences(attempts)
    accounts, untraced = _accounts(sequences, _fingerprints(sequences, requests))
    holding: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        for fingerprint in request.occurrences:
            if exclusive or fingerprint in accounts:
                holding[fingerprint].append(request)
    rows = []
    for fingerprint in sorted({*accounts, *holding}):
        held = holding[fingerprint]
        account = accounts.get(fingerprint) or _Account(dict(held[0].problems[fingerprint][0]))
        rows.append(_row(fingerprint, account, held))
    rows += [_row("", account, []) for _, account in sorted(untraced.items())]
    concerned = {request.name for held in holding.values() for request in held}
    return Report(
        rows=tuple(rows),
        faults=tuple(
            (request.name, request.fault)
            for request in sorted(requests, key=lambda request: request.name)
            if request.fault and (exclusive or request.name in concerned or not request.occurrences)
        ),
        deliveries=len({sequence[0].delivery for sequence in sequences}),
    )


class _Account(msgspec.Struct):
    """What was sent of one fingerprint."""

    labels: Mapping[str, str]
    accepted: Span = Span()
    refused: int = 0
    """Deliveries that were answered 503 at least once."""
    buffered: int = 0
    """Deliveries that a window held when they were answered."""


def _fingerprints(
    sequences: Sequence[Sequence[Attempt]], requests: Sequence[Request]
) -> dict[ProblemKey, set[str]]:
    """Return which fingerprints the labels of an alert have: as answers say, else as stored requests say."""
    answered: dict[ProblemKey, set[str]] = defaultdict(set)
    for attempt in (attempt for sequence in sequences for attempt in sequence if attempt.fingerprint):
        answered[problem_key(attempt.labels, attempt.annotations)].add(str(attempt.fingerprint))
    stored: dict[ProblemKey, set[str]] = defaultdict(set)
    for request in requests:
        for fingerprint, key in request.problems.items():
            stored[key].add(fingerprint)
    return {**stored, **answered}


def _accounts(
    sequences: Sequence[Sequence[Attempt]], known: Mapping[ProblemKey, set[str]]
) -> tuple[dict[str, _Account], dict[ProblemKey, _Account]]:
    """Sum up what was accepted a fingerprint; and, a set of labels, where nothing tells the fingerprint."""
    settled = _last_resolved(sequences, known)
    accounts: dict[str, _Account] = {}
    untraced: dict[ProblemKey, _Account] = {}
    for sequence in sequences:
        first = sequence[0]
        if first.resolved:
            continue
        key = problem_key(first.labels, first.annotations)
        span = delivered(sequence)
        named = {attempt.fingerprint for attempt in sequence if attempt.fingerprint} or known.get(key, set())
        if not named:
            account = untraced.setdefault(key, _Account(first.labels))
            account.accepted += span
        held = any(attempt.outcome == "buffered" for attempt in sequence)
        for fingerprint in named:
            account = accounts.setdefault(fingerprint, _Account(first.labels))
            # Several fingerprints for the same labels: any of them may have counted it. And what a window still held
            # when its alert resolved is settled without a request (rule 18 of the protocol).
            open_end = len(named) > 1 or (held and first.time <= settled.get(fingerprint, ""))
            account.accepted += Span(0, span.high) if open_end else span
            account.refused += any(attempt.status == 503 for attempt in sequence)
            account.buffered += held
    return accounts, untraced


def _row(fingerprint: str, account: _Account, held: Sequence[Request]) -> Row:
    accepted, labels = account.accepted, account.labels
    counted = sum(request.occurrences[fingerprint] for request in held)
    difference = min(0, counted - accepted.low) or max(0, counted - accepted.high)
    findings, details = [], []
    if difference:
        findings.append(Finding.LOSS if difference < 0 else Finding.SURPLUS)
    generations = {request.generation for request in held} - {0}
    gone = sorted(set(range(1, max(generations, default=0))) - generations)
    in_window = min(max(0, -difference), account.buffered)
    if in_window:
        details.append(f"{in_window} may still be held in a window")
    if difference < 0 and gone:
        details.append(f"what generation {', '.join(map(str, gone))} counted is gone with it")
    if difference > 0 and account.refused:
        details.append(f"{account.refused} deliveries got 503 first; a lost note lets those count twice")
    holding = [request.name for request in held if request.holds(fingerprint)]
    if len(holding) > 1:
        findings.append(Finding.OPEN_TWICE)
        details.append("open: " + ", ".join(holding))
    return Row(
        fingerprint=fingerprint,
        alertname=labels.get("alertname", ""),
        namespace=labels.get("namespace", ""),
        accepted=accepted,
        counted=counted,
        difference=difference,
        requests=tuple(request.name for request in held),
        in_window=in_window,
        findings=tuple(findings),
        detail="; ".join(details),
    )


def _sequences(attempts: Iterable[Attempt]) -> list[list[Attempt]]:
    """Group attempts by (delivery, index), in order; an attempt that two files hold is taken once."""
    grouped: dict[tuple[str, int], dict[int, Attempt]] = defaultdict(dict)
    for attempt in attempts:
        grouped[attempt.delivery, attempt.index][attempt.attempt] = attempt
    return [[by_number[number] for number in sorted(by_number)] for by_number in grouped.values()]


def _last_resolved(
    sequences: Sequence[Sequence[Attempt]], known: Mapping[ProblemKey, set[str]]
) -> dict[str, str]:
    """Return fingerprint → when its last `resolved` was answered, or may have been taken without an answer."""
    times: dict[str, str] = {}
    for sequence in sequences:
        for attempt in sequence:
            refused = attempt.status is not None and 400 <= attempt.status < 500
            if not attempt.resolved or not attempt.connected or refused:
                continue
            key = problem_key(attempt.labels, attempt.annotations)
            for fingerprint in {attempt.fingerprint} if attempt.fingerprint else known.get(key, set()):
                times[fingerprint] = max(times.get(fingerprint, ""), attempt.answered)
    return times
