"""Which requests meet which fault: rules in order, a seeded draw for each, and the same sequence for the same seed.

Every rule has a random generator of its own, seeded by the seed and by its place. So what a rule decides depends only
on the requests that come to it, not on how the draws of other rules fall in between.

As JSON, which the control port takes, a rule is an object with the names of `Rule`'s fields:

    {"fault": "answer lost", "share": 0.2, "verbs": ["create", "patch"], "resource": "remediationrequests"}
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chaos.faults.asked import VERBS, Asked


class Fault(StrEnum):
    """What happens to a request. The word is the one in rules as JSON, and the name of its counter."""

    THROTTLED = "throttled"
    """Answered 429, with `Retry-After` if the rule has `retry_after`; not forwarded."""
    ERROR = "internal error"
    """Answered 500; not forwarded."""
    UNAVAILABLE = "unavailable"
    """Answered 503, with `Retry-After` if the rule has `retry_after`; not forwarded."""
    CONFLICT = "conflict"
    """Answered 409 as a write with a stale resourceVersion is; not forwarded."""
    RESET = "reset"
    """The connection is reset; not forwarded."""
    SWALLOWED = "swallowed"
    """No answer ever; not forwarded."""
    ANSWER_LOST = "answer lost"
    """Forwarded and performed, and then the connection is reset instead of an answer."""
    HANG = "hang"
    """Forwarded and performed, and no answer ever."""
    DELAY = "delay"
    """Forwarded after `seconds`, unless the client has given up by then. Later rules are still tried after it."""
    LATE = "late"
    """As a delay, but forwarded even if the client has given up: a write that comes when nobody expects it any more."""
    FREEZE = "freeze"
    """Watches only: they stay open and silent, and go on where they stopped when the rule is gone."""
    CUT = "cut"
    """Watches only: their connection is reset after `seconds`."""


_OF_WATCHES = {Fault.FREEZE, Fault.CUT}
_WITH_RETRY_AFTER = {Fault.THROTTLED, Fault.UNAVAILABLE}
_WITH_SECONDS = {Fault.DELAY, Fault.LATE, Fault.CUT}


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault and the requests that meet it: those for which everything that is given here holds.

    Raises `ValueError` for values that make no sense.
    """

    fault: Fault
    share: float = 1.0
    """Of the requests that match: 0.0 none, 1.0 all."""
    verbs: tuple[str, ...] = ()
    """Kubernetes verbs; empty for all."""
    write: bool | None = None
    """Only writes, only reads, or both."""
    resource: str = ""
    """Plural, as in the path."""
    path: str = ""
    """A regular expression that is searched in the path, without the query."""
    query: str = ""
    """The same for the query."""
    when: Callable[[Asked], bool] | None = None
    """Anything else. It has no form in JSON."""
    skip: int = 0
    """So many matching requests pass before the rule begins."""
    times: int | None = None
    """So many requests meet the fault, then the rule is used up. None for no limit."""
    retry_after: int | None = None
    """Whole seconds."""
    seconds: float = 0.0
    jitter: float = 0.0
    """The time is drawn evenly from `seconds` ± this."""

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: {self.share} is not within 0 and 1")
        if unknown := set(self.verbs) - VERBS:
            raise ValueError(
                f"verbs: {', '.join(sorted(unknown))} unknown; there are {', '.join(sorted(VERBS))}"
            )
        for name in ("path", "query"):
            try:
                re.compile(getattr(self, name))
            except re.error as error:
                raise ValueError(f"{name}: {error}") from None
        if min(self.skip, self.times or 0, self.retry_after or 0, self.seconds, self.jitter) < 0:
            raise ValueError("skip, times, retry_after, seconds and jitter are not negative")
        if self.retry_after is not None and self.fault not in _WITH_RETRY_AFTER:
            raise ValueError(f"retry_after: a fault {self.fault.value!r} has none")
        if (self.seconds or self.jitter) and self.fault not in _WITH_SECONDS:
            raise ValueError(f"seconds, jitter: a fault {self.fault.value!r} takes no time")

    def matches(self, asked: Asked) -> bool:
        """Whether it is about this request, whatever the draw says."""
        return (
            (asked.watch or self.fault not in _OF_WATCHES)
            and (not self.verbs or asked.verb in self.verbs)
            and (self.write is None or asked.write == self.write)
            and (not self.resource or asked.resource == self.resource)
            and re.search(self.path, asked.path) is not None
            and re.search(self.query, asked.query) is not None
            and (self.when is None or self.when(asked))
        )

    def to_json(self) -> dict[str, Any]:
        """The rule without what is as by default. Raises `ValueError` for one with `when`."""
        if self.when is not None:
            raise ValueError("when: a function has no form in JSON")
        found = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                found[field.name] = list(value) if isinstance(value, tuple) else value
        return found

    @classmethod
    def from_json(cls, data: object) -> Rule:
        """The opposite. Raises `ValueError` for anything that is no rule, with what is wrong."""
        if not isinstance(data, Mapping):
            raise ValueError(f"a rule is an object, not {data!r}")  # noqa: TRY004 - of JSON, the value is wrong
        values = dict(data)
        if unknown := sorted(map(str, values.keys() - _KINDS.keys())):
            raise ValueError(f"unknown: {', '.join(unknown)}; there are {', '.join(_KINDS)}")
        for name, value in values.items():
            kind = _KINDS[name]
            if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kind):
                raise ValueError(f"{name}: {value!r} is of the wrong type")
        try:
            values["fault"] = Fault(values.get("fault", ""))
        except ValueError:
            raise ValueError(f"fault: {values.get('fault')!r}; there are {', '.join(Fault)}") from None
        if not all(isinstance(verb, str) for verb in values.get("verbs", ())):
            raise ValueError("verbs: a list of words")
        values["verbs"] = tuple(values.get("verbs", ()))
        return cls(**values)


_KINDS: dict[str, tuple[type, ...]] = {
    "fault": (str,),
    "share": (int, float),
    "verbs": (list, tuple),
    "write": (bool, type(None)),
    "resource": (str,),
    "path": (str,),
    "query": (str,),
    "skip": (int,),
    "times": (int, type(None)),
    "retry_after": (int, type(None)),
    "seconds": (int, float),
    "jitter": (int, float),
}


def rules_from_json(data: object) -> list[Rule]:
    """A list of rules; raises `ValueError` with the place of the first wrong one."""
    if not isinstance(data, Sequence) or isinstance(data, str | bytes):
        raise ValueError("rules are a list")  # noqa: TRY004 - as above
    found = []
    for place, one in enumerate(data):
        try:
            found.append(Rule.from_json(one))
        except ValueError as error:
            raise ValueError(f"rules[{place}]: {error}") from None
    return found


@dataclass(frozen=True, slots=True)
class Decision:
    """What a request meets: a rule, or none, after a wait of `wait` seconds, which `delays` rules add up to."""

    rule: Rule | None = None
    wait: float = 0.0
    delays: int = 0


@dataclass(frozen=True, slots=True)
class WatchDecision:
    """What an open watch meets: `cut_after` in seconds, None for never."""

    frozen: bool = False
    cut_after: float | None = None


class Armed:
    """Rules in force. The first that matches a request and whose draw falls on it decides; delays add up before it."""

    def __init__(self, rules: Iterable[Rule], seed: int = 0) -> None:
        self.rules = tuple(rules)
        self._states = [
            _State(rule, random.Random(f"{seed}/{place}")) for place, rule in enumerate(self.rules)
        ]

    def decide(self, asked: Asked) -> Decision:
        """For a request that has come in; each call is a draw."""
        wait, delays = 0.0, 0
        for state in self._states:
            rule = state.rule
            if rule.fault in _OF_WATCHES or not state.hits(asked):
                continue
            if rule.fault is not Fault.DELAY:
                return Decision(rule, wait + (state.time() if rule.fault is Fault.LATE else 0), delays)
            wait += state.time()
            delays += 1
        return Decision(None, wait, delays)

    def decide_watch(self, asked: Asked) -> WatchDecision:
        """For a watch that has begun, or that goes on under new rules."""
        frozen, cut_after = False, None
        for state in self._states:
            if state.rule.fault in _OF_WATCHES and state.hits(asked):
                if state.rule.fault is Fault.FREEZE:
                    frozen = True
                else:
                    time = state.time()
                    cut_after = time if cut_after is None else min(cut_after, time)
        return WatchDecision(frozen, cut_after)


class _State:
    """A rule, its generator, and what it has seen."""

    __slots__ = ("_draw", "_hit", "_matched", "rule")

    def __init__(self, rule: Rule, draw: random.Random) -> None:
        self.rule = rule
        self._draw = draw
        self._matched = 0
        self._hit = 0

    def hits(self, asked: Asked) -> bool:
        rule = self.rule
        if (rule.times is not None and self._hit >= rule.times) or not rule.matches(asked):
            return False
        self._matched += 1
        if self._matched <= rule.skip:
            return False
        # The draw is below 1.0, so a share of 1 is all.
        hit = self._draw.random() < rule.share
        self._hit += hit
        return hit

    def time(self) -> float:
        rule = self.rule
        if not rule.jitter:
            return rule.seconds
        return max(0.0, self._draw.uniform(rule.seconds - rule.jitter, rule.seconds + rule.jitter))
