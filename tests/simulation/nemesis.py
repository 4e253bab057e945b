"""What happens to a world while senders send: faults drawn from the profile, each written to the trace."""

from __future__ import annotations

import asyncio
import random

from gateway.engine.marks import Marks, dump, parse, total
from gateway.kube.objects import create_body
from tests.simulation.twin_windows import WindowData
from tests.simulation.virtual import run
from tests.simulation.world import Profile, Replica, SimReading, World, moment


async def torment(world: World) -> None:
    """Draw faults, ten times a second, until cancelled."""
    rng, profile = world.rng, world.profile
    while True:
        await asyncio.sleep(0.1)
        for what, act in _ACTS.items():
            rate = getattr(profile, what)
            if rate and rng.random() < rate * 0.1:
                act(world, rng)


def _outage(world: World, rng: random.Random) -> None:
    which = rng.choice(("redis", "kube"))
    if not world.down[which]:
        world.trace(f"{which} is down")
        world.down[which] = True
        world.notes_unsafe = True
        asyncio.get_running_loop().call_later(rng.choice((0.3, 2.0, 8.0)), _back, world, which)


def _back(world: World, which: str) -> None:
    world.trace(f"{which} is back")
    world.down[which] = False


def _flush(world: World, _: random.Random) -> None:
    world.trace("FLUSHALL")
    world.notes_unsafe = True
    world.redis.flush()


def _evict(world: World, rng: random.Random) -> None:
    shard = rng.choice(world.redis.data)
    world.notes_unsafe = True
    if world.profile.hold is not None and rng.random() < 0.5:
        _evict_window(world, shard.windows, rng)
    elif shard.records and rng.random() < 0.6:
        fingerprint = rng.choice(sorted(shard.records))
        world.trace(f"record {fingerprint[:4]} is evicted")
        del shard.records[fingerprint]
    elif rng.random() < 0.5:
        world.trace("the queue is evicted")
        shard.queue = {}
    else:
        world.trace("the notes are evicted")
        shard.notes = {}


def _evict_window(world: World, data: WindowData, rng: random.Random) -> None:
    what = rng.choice(("window", "group", "buffer", "chunk", "names"))
    world.trace(f"{what} is evicted")
    if what == "window" and data.windows:
        del data.windows[rng.choice(sorted(data.windows))]
    elif what == "group":
        data.groups.clear()
    elif what == "buffer":
        data.buffers.clear()
    elif what == "chunk" and data.chunks:
        del data.chunks[rng.choice(sorted(data.chunks))]
    else:
        data.collecting.clear()


def _failover(world: World, rng: random.Random) -> None:
    world.notes_unsafe = True
    if world.past is None:
        world.past = world.redis.snapshot()
        world.trace("the replica stops following")
    else:
        world.trace("failover to the past")
        world.redis.restore(world.past, f"run{rng.random()}")
        world.past = None


def _crash(world: World, rng: random.Random) -> None:
    living = world.living()
    if living:
        replica = rng.choice(living)
        world.trace(f"{replica.name} is killed")
        world.notes_unsafe = True
        replica.kill()
        world.start_replica(replica.disk)


def _calamity(world: World, rng: random.Random) -> None:
    """Redis goes back to a copy of its data, or has none, at the moment in which a replica dies."""
    if world.past is not None and rng.random() < 0.5:
        _failover(world, rng)
    else:
        _flush(world, rng)
    _crash(world, rng)


def _pause(world: World, rng: random.Random) -> None:
    replica = rng.choice(world.living())
    wire = rng.choice((replica.redis_wire, replica.kube_wire))
    if wire.frozen is None:
        world.trace(f"{replica.name}: {wire.kind} hangs")
        event = wire.frozen = asyncio.Event()
        asyncio.get_running_loop().call_later(rng.choice((0.5, 4.0, 18.0)), _thaw, replica, event)


def _thaw(replica: Replica, event: asyncio.Event) -> None:
    event.set()
    for wire in (replica.redis_wire, replica.kube_wire):
        if wire.frozen is event:
            wire.frozen = None


def _lag(world: World, rng: random.Random) -> None:
    replica = rng.choice(world.living())
    if replica.watching.is_set():
        world.trace(f"{replica.name}: the watch hangs")
        replica.watching.clear()
        asyncio.get_running_loop().call_later(rng.choice((0.5, 5.0)), replica.watching.set)


def _close(world: World, rng: random.Random) -> None:
    requests = world.api.open_requests()
    if requests:
        stored = rng.choice(requests)
        world.trace(f"a controller closes {stored.name}")
        world.api.close(stored.ref)


def _delete(world: World, rng: random.Random) -> None:
    requests = world.api.listed()
    if requests:
        stored = rng.choice(requests)
        world.trace(f"a controller deletes {stored.name}")
        world.api.remove(stored.ref)


def _rival(world: World, rng: random.Random) -> None:
    requests = world.api.listed()
    if requests:
        world.api.touch(rng.choice(requests).ref, str(rng.random()))


def _fork(world: World, rng: random.Random) -> None:
    """What a replica that was cut off does at worst: a second open request that counts a part of the first again."""
    requests = [stored for stored in world.api.open_requests() if stored.count]
    if not requests:
        return
    stored = max(requests, key=lambda r: (r.fingerprint, r.generation))
    copied: Marks = {}
    for slot, mark in parse(stored.applied, stored.fingerprint).items():
        lo, hi = mark[-1]
        start = rng.randint(lo, hi)
        copied[slot] = ((start, rng.randint(start, hi)),)
    if not total(copied):
        return
    generation = max(r.generation for r in world.api.listed() if r.fingerprint == stored.fingerprint) + 1
    world.trace(f"a rogue forks {stored.name}: {stored.applied} -> {copied}")
    reading = SimReading(stored.fingerprint, moment(1000.0))
    body = create_body(
        reading.signal(),
        namespace="prod",
        name=f"{stored.name}-{generation}",
        generation=generation,
        applied=dump(copied, stored.fingerprint),
        count=total(copied),
        first_seen=reading.starts_at,
        last_seen=reading.starts_at,
    )
    world.api.create("prod", body)


_ACTS = {
    "fork": _fork,
    "outage": _outage,
    "flush": _flush,
    "evict": _evict,
    "failover": _failover,
    "crash": _crash,
    "calamity": _calamity,
    "pause": _pause,
    "lag": _lag,
    "close": _close,
    "delete": _delete,
    "rival": _rival,
}


async def _deliver(world: World) -> None:
    """All senders of a schedule."""
    rng, profile = world.rng, world.profile
    fingerprints = [f"{number:x}" * 64 for number in range(10, 10 + profile.problems)]
    since = dict.fromkeys(fingerprints, moment(1000.0))
    senders = []
    for number in range(profile.deliveries):
        await asyncio.sleep(
            rng.random() * 2 * profile.duration / profile.deliveries * rng.choice((0.1, 1.0, 1.4))
        )
        readings = []
        for fingerprint in rng.choices(fingerprints, k=rng.choice((1, 1, 2, 3))):
            if profile.resolve and rng.random() < profile.resolve:
                readings.append(
                    SimReading(
                        fingerprint,
                        since[fingerprint],
                        resolved=True,
                        ends_at=moment(asyncio.get_running_loop().time()),
                        rule=profile.hold,
                    )
                )
                if rng.random() < 0.7:
                    since[fingerprint] = moment(asyncio.get_running_loop().time() + 0.001)
            else:
                readings.append(SimReading(fingerprint, since[fingerprint], rule=profile.hold))
        body = f"body-{number}".encode()
        senders.append(asyncio.create_task(_send(world, readings, body, again=rng.random() < profile.repeat)))
        if rng.random() < 0.2:
            senders.append(asyncio.create_task(world.send(list(readings), f"{number}-again".encode())))
    await asyncio.gather(*senders)


async def _send(world: World, readings: list[SimReading], body: bytes, *, again: bool) -> None:
    await world.send(readings, body)
    while again and world.rng.random() < 0.7:
        await asyncio.sleep(world.rng.choice((0.5, 3.0)))
        await world.send(readings, body)


async def play(world: World) -> None:
    """One whole schedule: replicas, senders, faults, and then rest."""
    for _ in range(world.profile.replicas):
        world.start_replica()
    await asyncio.sleep(0.05)
    world.down["redis"] = world.profile.alone
    nemesis = asyncio.create_task(torment(world))
    senders = asyncio.create_task(_deliver(world))
    await asyncio.sleep(world.profile.duration)
    nemesis.cancel()
    world.harshness = 0.0
    world.down = {"redis": False, "kube": False}
    for replica in world.living():
        replica.watching.set()
    await senders
    await world.settle()
    for replica in world.living():
        replica.kill()


def schedule(profile: Profile, seed: int, **options: object) -> tuple[World, list[str]]:
    """Run one schedule; returns the world and what is wrong with how it ended."""
    world = World(profile, seed, **options)  # type: ignore[arg-type]
    run(play(world))
    return world, world.judge(exact_open=profile.one_open)
