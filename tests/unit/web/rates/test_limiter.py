"""Never more than allowed in any window, whatever happens to Redis in the middle of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.rates.limiter import MOST_IN_A_CALL, Full, Limiter
from tests.unit.web.rates.shared import Clock, Server, State

MOST, SPAN = 3, 60.0


class Stage:
    """Replicas of one limit over one Redis."""

    def __init__(self, *, replicas: int = 1, most: int = MOST, most_tracked: int = 100) -> None:
        self.clock = Clock()
        self.server = Server(self.clock, most=most, span=SPAN)
        self.limiters = [
            Limiter(
                most=most,
                span=SPAN,
                shared=self.server.replica(),
                clock=self.clock,
                most_tracked=most_tracked,
            )
            for _ in range(replicas)
        ]

    async def take(self, *keys: str, replica: int = 0) -> Full | None:
        return await self.limiters[replica].take(keys)

    async def passes(self, *keys: str, replica: int = 0) -> bool:
        return await self.take(*keys, replica=replica) is None


@pytest.mark.parametrize("state", State)
async def test_the_fourth_of_three_is_refused_and_told_when_there_is_room(state: State) -> None:
    stage = Stage()
    stage.server.state = state
    for _ in range(3):
        assert await stage.passes("me")
        stage.clock.now += 10
    full = await stage.take("me")
    assert full == Full("me", 30.0)
    assert await stage.passes("you")
    stage.clock.now += full.wait - 0.1
    assert not await stage.passes("me")
    stage.clock.now += 0.1
    assert await stage.passes("me")
    assert not await stage.passes("me")


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
@pytest.mark.parametrize("taken", [1, 2, 3])
async def test_a_switch_neither_resets_nor_doubles(before: State, after: State, taken: int) -> None:
    stage = Stage()
    stage.server.state = before
    for _ in range(taken):
        assert await stage.passes("me")
    stage.server.state = after
    passed = [await stage.passes("me") for _ in range(5)]
    assert passed == [True] * (3 - taken) + [False] * (2 + taken)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, 1)),
        st.tuples(st.just("state"), st.sampled_from(State)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 7.0, 20.0, 59.9, 60.0])),
        st.tuples(st.just("flush"), st.none()),
    ),
    max_size=60,
)


def most_in_any_window(times: Sequence[float]) -> int:
    return max((sum(1 for at in times if begin <= at < begin + SPAN) for begin in times), default=0)


@given(actions=actions, most=st.sampled_from([1, 3, 100]))
async def test_one_replica_never_lets_more_pass_in_any_window(
    actions: list[tuple[str, object]], most: int
) -> None:
    stage = Stage(most=most)
    passed: list[float] = []
    for action, value in actions:
        for _ in range(most // 30 + 1):
            await act(stage, action, value, [passed, passed], replicas=1)
    assert most_in_any_window(passed) <= most


@given(actions=actions)
async def test_two_replicas_let_pass_at_most_what_each_of_them_may(
    actions: list[tuple[str, object]],
) -> None:
    stage = Stage(replicas=2)
    passed: list[list[float]] = [[], []]
    for action, value in actions:
        await act(stage, action, value, passed, replicas=2)
    assert [most_in_any_window(times) <= MOST for times in passed] == [True, True]


@given(actions=actions)
async def test_two_replicas_share_one_limit_as_long_as_redis_is_there(
    actions: list[tuple[str, object]],
) -> None:
    stage = Stage(replicas=2)
    passed: list[float] = []
    for action, value in actions:
        if action in ("take", "wait"):
            await act(stage, action, value, [passed, passed], replicas=2)
    assert most_in_any_window(passed) <= MOST


async def act(stage: Stage, action: str, value: object, passed: list[list[float]], *, replicas: int) -> None:
    match action, value:
        case "take", int(replica):
            if await stage.passes("me", replica=replica % replicas):
                passed[replica].append(stage.clock.now)
        case "state", State() as state:
            stage.server.state = state
        case "wait", float(pause):
            stage.clock.now += pause
        case "flush", None:
            stage.server.windows.clear()


async def test_what_redis_lost_comes_back_with_the_next_call_of_whoever_took_it() -> None:
    stage = Stage(replicas=2)
    assert await stage.passes("me", replica=0)
    assert await stage.passes("me", replica=1)
    stage.server.windows.clear()
    assert await stage.passes("me", replica=0)
    assert not await stage.passes("me", replica=1)
    assert not await stage.passes("me", replica=0)


async def test_what_redis_lost_of_the_others_stays_known_to_who_heard_of_it() -> None:
    stage = Stage(replicas=2, most=5)
    assert await stage.passes("me", replica=0)
    assert await stage.passes("me", replica=0)
    assert await stage.passes("me", replica=1)
    stage.server.windows.clear()
    assert [await stage.passes("me", replica=1) for _ in range(4)] == [True, True, False, False]


async def test_what_the_others_took_is_known_when_redis_goes() -> None:
    stage = Stage(replicas=2)
    assert await stage.passes("me", replica=0)
    assert await stage.passes("me", replica=0)
    assert await stage.passes("me", replica=1)
    stage.server.state = State.AWAY
    assert not await stage.passes("me", replica=1)


async def test_what_was_taken_without_redis_is_told_to_the_others_when_it_returns() -> None:
    stage = Stage(replicas=2)
    stage.server.state = State.AWAY
    assert await stage.passes("me", replica=0)
    assert await stage.passes("me", replica=0)
    stage.server.state = State.UP
    assert await stage.passes("me", replica=0)
    assert not await stage.passes("me", replica=1)


async def test_all_keys_of_a_request_have_room_or_none_is_charged() -> None:
    stage = Stage()
    for _ in range(3):
        assert await stage.passes("full")
    full = await stage.take("free", "full")
    assert full is not None
    assert full.key == "full"
    assert [await stage.passes("free") for _ in range(4)] == [True, True, True, False]


async def test_who_is_known_to_be_over_the_limit_costs_redis_nothing() -> None:
    stage = Stage()
    for _ in range(4):
        await stage.take("me")
    calls = stage.server.calls
    for _ in range(100):
        assert not await stage.passes("me")
    assert stage.server.calls == calls == 3


async def test_what_waits_while_a_call_is_in_flight_shares_the_next_one() -> None:
    stage = Stage(most=30)
    stage.server.gate = asyncio.Event()
    asked = [asyncio.ensure_future(stage.passes(f"key{number % 5}")) for number in range(100)]
    await asyncio.sleep(0)
    stage.server.gate.set()
    assert all(await asyncio.gather(*asked))
    assert stage.server.checks == 100
    assert stage.server.calls <= 2


async def test_of_those_that_are_decided_together_only_as_many_pass_as_have_room() -> None:
    for state in State:
        stage = Stage()
        stage.server.state = state
        passed = await asyncio.gather(*(stage.passes("me") for _ in range(50)))
        assert sum(passed) == 3, state


async def test_a_request_of_very_many_keys_is_decided_from_memory() -> None:
    stage = Stage(most_tracked=10_000)
    keys = [f"key{number}" for number in range(MOST_IN_A_CALL + 1)]
    assert [await stage.passes(*keys) for _ in range(4)] == [True, True, True, False]
    assert stage.server.calls == 0


async def test_memory_is_bounded_and_a_flood_of_keys_makes_no_room() -> None:
    stage = Stage(most_tracked=10)
    passed = [await stage.passes(f"key{number}") for number in range(100)]
    assert stage.limiters[0].tracked <= 11
    assert sum(passed) == 10 + MOST
    assert len(stage.server.windows) <= 11
    stage.clock.now += SPAN
    assert await stage.passes("key99")
    assert stage.limiters[0].tracked == 1


async def test_a_key_is_not_kept_as_it_is() -> None:
    stage = Stage()
    assert await stage.passes("secret" * 100_000)
    (name,) = stage.server.windows
    assert len(name) < 40
    assert "secret" not in name
