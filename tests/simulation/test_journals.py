"""What a process finds in a dead one's journal, step by step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.simulation.profiles import SHORT, Profile
from tests.simulation.virtual import run
from tests.simulation.world import _METRICS, Replica, SimReading, World, moment

FINGERPRINT = "a" * 64


def played(profile: Profile, act: Callable[[World, Replica], Awaitable[None]]) -> World:
    """A world with one replica and a journal, in which `act` happens."""
    world = World(profile, 1)

    async def play() -> None:
        replica = world.start_replica()
        await asyncio.sleep(0.1)
        await act(world, replica)
        await world.settle()
        for living in world.living():
            living.kill()

    run(play())
    return world


def fires(fingerprint: str = FINGERPRINT, *, profile: Profile) -> list[SimReading]:
    return [SimReading(fingerprint, moment(1000.0), rule=profile.hold)]


def die(world: World, replica: Replica) -> Replica:
    """The replica dies with all data in Redis; the next one finds its disk."""
    replica.kill()
    world.redis.flush()
    return world.start_replica(replica.disk)


def recovered() -> float:
    return float(_METRICS.crds_created["recovery"]._value.get())


PLAIN = Profile("plain", replicas=1, journal=True)
HELD = Profile("held", replicas=1, journal=True, hold=SHORT)


def test_what_only_the_dead_process_and_redis_knew_gets_its_request_and_is_counted_as_recovered() -> None:
    before = recovered()

    async def act(world: World, replica: Replica) -> None:
        world.down["kube"] = True
        for number in range(3):
            await replica.accept(fires(profile=PLAIN), f"{number}".encode())
        die(world, replica)
        world.down["kube"] = False

    world = played(PLAIN, act)

    assert [stored.count for stored in world.api.listed()] == [3]
    assert recovered() == before + 1


def test_it_goes_through_as_many_deaths_as_come_before_kubernetes_has_it() -> None:
    async def act(world: World, replica: Replica) -> None:
        world.down["kube"] = True
        await replica.accept(fires(profile=PLAIN), b"1")
        for number in range(4):
            replica = die(world, replica)
            await asyncio.sleep(0.3 * number)
            await replica.accept(fires(profile=PLAIN), f"again {number}".encode())
        world.down["kube"] = False

    world = played(PLAIN, act)

    assert [stored.count for stored in world.api.listed()] == [5]


def test_without_redis_it_is_written_to_kubernetes_directly() -> None:
    async def act(world: World, replica: Replica) -> None:
        world.down["kube"] = True
        await replica.accept(fires(profile=PLAIN), b"1")
        world.down["redis"] = True
        die(world, replica)
        world.down["kube"] = False
        await asyncio.sleep(20.0)
        assert [stored.count for stored in world.api.listed()] == [1]

    played(PLAIN, act)


def test_a_storm_goes_on_in_the_same_window() -> None:
    windows = []

    async def act(world: World, replica: Replica) -> None:
        for digit in "abc":
            (verdict,) = await replica.accept(fires(digit * 64, profile=HELD), digit.encode())
            windows.append(verdict.window.id)
        replica = die(world, replica)
        await asyncio.sleep(1.0)
        (verdict,) = await replica.accept(fires("d" * 64, profile=HELD), b"d")
        windows.append(verdict.window.id)

    world = played(HELD, act)

    (request,) = world.api.listed()
    assert set(windows) == {request.window}
    assert request.count == 4


def test_what_was_stored_before_is_not_made_again_after_its_request_is_gone() -> None:
    async def act(world: World, replica: Replica) -> None:
        await replica.accept(fires(profile=PLAIN), b"1")
        await asyncio.sleep(5.0)
        (request,) = world.api.listed()
        world.api.remove(request.ref)
        die(world, replica)

    world = played(PLAIN, act)

    assert world.api.listed() == []
