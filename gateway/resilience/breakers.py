"""Breakers: a dependency that fails is left alone for a while, so that nobody waits for it in vain.

A breaker is fed with how each call ended and says whether the next one may be tried. The three states and the way
that listeners hear of a change are `aiobreaker`'s; when to change is decided here, because that library counts only
failures in a row, lets every call through while half-open, and times its open state with the wall clock. All times
here come from one monotonic clock, so that a step of the time of day opens and closes nothing.

While a breaker is not closed, calls fail at once. Nobody's request is used to find out whether the dependency is
back: that is done in the background (`probing`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Final, Protocol

import structlog
from aiobreaker import CircuitBreaker, CircuitBreakerListener, CircuitBreakerState

from gateway.resilience.sliding import SlidingWindow

log = structlog.get_logger(__name__)

LEAST_FAILURES: Final = 3
"""One slow answer is no outage, however few calls there were; two in a row may still be one moment's."""
LONGEST_PAUSE: Final = 10.0
"""Seconds between two probes at the most, whatever the dependency asks for: within 15 s of its return everything has to
go on."""
PATIENCE: Final = 1.5
"""By so much longer than the last time a dependency is left alone that answers a probe with `THROTTLED`."""
LONGEST_REASON: Final = 300
"""Characters of a failure's text that are kept."""


class State(IntEnum):
    """What a breaker does. The values are those of the metric."""

    CLOSED = 0
    """Calls pass."""
    OPEN = 1
    """Calls fail at once."""
    HALF_OPEN = 2
    """Calls fail at once, and a probe is under way."""


class Outcome(Enum):
    """How a call ended, as far as the dependency's health goes."""

    SUCCESS = "success"
    ANSWERED = "answered"
    """A success that does not end a row of `THROTTLED`: reads may pass where writes are throttled."""
    FAILURE = "failure"
    """No answer, or one that says that the dependency is broken."""
    THROTTLED = "throttled"
    """It lives, and asks to be left alone. No failure; so many in a row open the breaker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a breaker opens and closes."""

    failure_rate: float
    """The share of the calls within the window, from which on it opens."""
    window: float
    """Seconds."""
    min_calls: int
    """Fewer calls within the window say nothing."""
    open_for: float
    """Seconds until the first probe, and between a probe that failed and the next; longer, step by step, while probes
    are answered with `THROTTLED`."""
    throttled: int = 0
    """So many `THROTTLED` in a row open it; 0: they never do."""
    silence: float = 0.0
    """Seconds with failures only after which it opens, whatever went well before in the window; 0: only the rate
    decides."""
    proofs: int = 2
    """Probes that have to succeed in a row before it closes."""
    proof_pause: float = 0.1
    """Seconds between those."""


class Listener(Protocol):
    """Told of what a breaker does. Called synchronously; must be quick and must not raise."""

    def changed(self, breaker: Breaker, old: State, new: State) -> None: ...

    def refused(self, breaker: Breaker) -> None:
        """A call was not tried."""


class Breaker:
    """Says whether a dependency may be called.

    Every call that was allowed, and every probe, ends in `record`. What ends while the breaker is not closed began
    before it opened and changes nothing.
    """

    def __init__(
        self,
        name: str,
        policy: Policy,
        *,
        clock: Callable[[], float],
        listeners: Sequence[Listener] = (),
    ) -> None:
        """`name` is the metrics' label `component`; `clock` is monotonic, in seconds."""
        self.name: Final = name
        self.policy: Final = policy
        self.reason = ""
        """The failure that was recorded last; kept when it closes, and told only while it is not closed."""
        self.opened_at: float | None = None
        """When it left `CLOSED` last, by its clock; None before."""
        self._clock = clock
        self._listeners = list(listeners)
        self._proven = False
        self._window = SlidingWindow(policy.window)
        self._throttled = 0
        self._failing_since: float | None = None
        self._failures = 0
        """Since the last success."""
        self._next_probe = 0.0
        self._pause = policy.open_for
        self._proofs = 0
        self._machine = _Machine(name, self._changed)

    @property
    def state(self) -> State:
        return self._machine.now()

    @property
    def closed(self) -> bool:
        """Whether calls pass."""
        return self.state is State.CLOSED

    @property
    def healthy(self) -> bool:
        """Closed, and not only because nothing was tried yet: it has answered since the start."""
        return self._proven and self.closed

    def on_change(self, callback: Callable[[State, State], object]) -> None:
        """Have `callback(old, new)` called after each change, besides the listeners."""
        self._listeners.append(_OnChange(callback))

    def allow(self) -> bool:
        """Whether a call may be tried; where not, the refusal is told to the listeners."""
        if self.closed:
            return True
        for listener in self._listeners:
            listener.refused(self)
        return False

    def retry_after(self) -> float:
        """Seconds until the next probe; 0.0 where it is due, or the breaker is closed."""
        return 0.0 if self.closed else max(0.0, self._next_probe - self._clock())

    def record(self, outcome: Outcome, reason: str = "", wait: float = 0.0) -> None:
        """Take note of how a call ended; `reason` says why it failed, for people. `wait`: for so many seconds the
        dependency asks to be left alone.
        """
        if not self.closed:
            return
        now = self._clock()
        if outcome is Outcome.THROTTLED:
            self._throttled += 1
            self._note(reason)
        elif outcome is Outcome.FAILURE:
            self._window.add(now, failed=True)
            self._failures += 1
            if self._failing_since is None:
                self._failing_since = now
            self._note(reason)
        else:
            self._window.add(now, failed=False)
            self._failing_since, self._failures = None, 0
            if outcome is Outcome.SUCCESS:
                self._throttled = 0
            self._proven = True
        if self._broken(now):
            self._pause = self.policy.open_for
            self._open(now, wait)

    @contextmanager
    def probing(self) -> Generator[Probe, None, None]:
        """Half-open for as long as one probe takes; whoever probes says in it how it went.

        A probe that says nothing, or that raises, has failed. Does nothing to a closed breaker.
        """
        probe = Probe()
        if self.closed:
            yield probe
            return
        self._machine.half_open()
        try:
            yield probe
        finally:
            self._judge(probe)

    def _judge(self, probe: Probe) -> None:
        now = self._clock()
        if probe.outcome not in (Outcome.SUCCESS, Outcome.ANSWERED):
            self._note(probe.reason)
            throttled = probe.outcome is Outcome.THROTTLED
            self._pause = min(self._pause * PATIENCE, LONGEST_PAUSE) if throttled else self.policy.open_for
            self._open(now, probe.wait)
            return
        self._proofs += 1
        if self._proofs < self.policy.proofs:
            self._next_probe = now + self.policy.proof_pause
            return
        self._proven = True
        self._window.clear()
        self._throttled = self._failures = 0
        self._failing_since = None
        self._machine.close()

    def _broken(self, now: float) -> bool:
        policy = self.policy
        if policy.throttled and self._throttled >= policy.throttled:
            return True
        calls, failures = self._window.counts(now)
        if failures < LEAST_FAILURES:
            return False
        if calls >= policy.min_calls and failures >= policy.failure_rate * calls:
            return True
        silent = self._failing_since is not None and now - self._failing_since >= policy.silence > 0
        return silent and self._failures >= LEAST_FAILURES

    def _open(self, now: float, wait: float) -> None:
        self._proofs = 0
        self._next_probe = now + max(self._pause, min(wait, LONGEST_PAUSE))
        if self.closed:
            self.opened_at = now
        self._machine.open()

    def _note(self, reason: str) -> None:
        self.reason = " ".join(reason.split())[:LONGEST_REASON]

    def _changed(self, old: State, new: State) -> None:
        if new is State.CLOSED:
            log.info("circuit breaker closed", component=self.name)
        elif old is State.CLOSED:
            log.warning("circuit breaker opened", component=self.name, error=self.reason)
        else:
            log.info(
                "circuit breaker changed", component=self.name, state=new.name.lower(), error=self.reason
            )
        for listener in self._listeners:
            listener.changed(self, old, new)


class Probe:
    """How a probe went."""

    __slots__ = ("outcome", "reason", "wait")

    def __init__(self) -> None:
        self.outcome: Outcome = Outcome.FAILURE
        self.reason = "the probe was given up"
        self.wait = 0.0
        """Seconds for which the dependency asks to be left alone."""


class _OnChange:
    """A listener that is one function."""

    def __init__(self, callback: Callable[[State, State], object]) -> None:
        self._callback = callback

    def changed(self, breaker: Breaker, old: State, new: State) -> None:
        self._callback(old, new)

    def refused(self, breaker: Breaker) -> None:
        pass


_STATES: Final = {
    CircuitBreakerState.CLOSED: State.CLOSED,
    CircuitBreakerState.OPEN: State.OPEN,
    CircuitBreakerState.HALF_OPEN: State.HALF_OPEN,
}


class _Machine(CircuitBreaker):  # type: ignore[misc] # it comes without types
    """The library's states and listeners, without its calls and its clock."""

    def __init__(self, name: str, changed: Callable[[State, State], None]) -> None:
        super().__init__(name=name, listeners=[_Changes(changed)])

    def now(self) -> State:
        return _STATES[self.current_state]

    # The library's own tell the listeners first and then store the state, so that a listener who asks sees the old
    # one; and `open` notes the time of day by a function that is deprecated from Python 3.12 on.

    def open(self) -> None:
        self._enter(CircuitBreakerState.OPEN)

    def half_open(self) -> None:
        self._enter(CircuitBreakerState.HALF_OPEN)

    def close(self) -> None:
        self._enter(CircuitBreakerState.CLOSED)

    def _enter(self, state: CircuitBreakerState) -> None:
        self._state_storage.state = state
        self.state = state


class _Changes(CircuitBreakerListener):  # type: ignore[misc] # it comes without types
    def __init__(self, changed: Callable[[State, State], None]) -> None:
        self._changed = changed

    def state_change(self, breaker: Any, old: Any, new: Any) -> None:
        before, after = _STATES[old.state], _STATES[new.state]
        if before is not after:
            self._changed(before, after)
