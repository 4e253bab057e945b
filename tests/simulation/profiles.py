"""Which faults go together, and what may be asked of the outcome.

A process that dies together with the loss of the same data in Redis loses what only it knew, if it keeps no journal:
that is one of the named exceptions, so only profiles with a journal have both. Deletions go without writes that
arrive late: a create that is performed after its request was deleted counts again, which is another.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from gateway.model import Hold
from tests.simulation.world import Profile

CALM = Profile("calm", close=0.15, delete=0.05, rival=1.0, resolve=0.1, repeat=0.1, one_open=True)
"""No faults, but controllers that close and delete, and a rival writer: never two open requests of a problem."""

KUBE = Profile("kube", kube_fault=0.2, close=0.1, rival=1.0, resolve=0.05, repeat=0.1, one_open=True)
"""Kubernetes loses, delays and repeats; Redis does not, so even a 503 that is sent again counts once."""

REDIS = Profile("redis", redis_fault=0.15, close=0.1, rival=0.3, repeat=0.1, one_open=True)

BOTH = Profile(
    "both", redis_fault=0.3, kube_fault=0.3, close=0.1, rival=0.5, deliveries=20, repeat=0.3, one_open=True
)

CRASH = Profile(
    "crash",
    redis_fault=0.1,
    kube_fault=0.1,
    outage=0.1,
    lag=0.1,
    crash=0.1,
    pause=0.05,
    close=0.1,
    rival=0.3,
    resolve=0.05,
    lost_answer=0.03,
    relist=0.02,
    one_open=True,
)
"""Replicas die at any moment; Redis keeps what it was given."""

LOSS = Profile(
    "loss",
    redis_fault=0.1,
    kube_fault=0.1,
    outage=0.1,
    lag=0.1,
    flush=0.05,
    evict=0.1,
    failover=0.1,
    pause=0.05,
    close=0.1,
    rival=0.3,
    resolve=0.05,
    lost_answer=0.03,
    relist=0.02,
)
"""Redis forgets all, some, or the latest; replicas live."""

NOTES = Profile(
    "notes",
    redis_fault=0.5,
    kube_fault=0.5,
    outage=0.2,
    failover=1.2,
    problems=3,
    shards=2,
    deliveries=20,
    repeat=0.9,
)
"""Many 503s, each of which took a part of its body, and bodies that come again."""

FORK = Profile("fork", fork=0.4, redis_fault=0.05, kube_fault=0.1, rival=0.3, deliveries=20)
"""Two open requests of one problem that count some of the same: they have to heal."""

DELETE = Profile(
    "delete",
    redis_fault=0.1,
    outage=0.1,
    lag=0.05,
    close=0.05,
    delete=0.1,
    resolve=0.05,
    lost_answer=0.03,
    relist=0.02,
)

CROWD = Profile(
    "crowd",
    replicas=3,
    problems=3,
    shards=2,
    deliveries=24,
    redis_fault=0.1,
    kube_fault=0.1,
    outage=0.05,
    lag=0.1,
    flush=0.03,
    evict=0.1,
    pause=0.05,
    close=0.1,
    rival=0.3,
    lost_answer=0.03,
)

BURST = Profile("burst", problems=1, deliveries=400, duration=10.0)
"""Nothing but duplicates, for counting writes."""

SHORT = Hold(
    threshold=2, hold=3000, inactivity=2000, max_window=6000, early=False, buffer_size=100, max_alerts=1000
)
"""A window of seconds: three problems of one group."""

TINY = msgspec.structs.replace(SHORT, buffer_size=2, max_alerts=3)
"""It spills at two members and is full at three."""

EARLY = msgspec.structs.replace(SHORT, early=True)

STORM = Profile(
    "storm", problems=3, hold=SHORT, close=0.1, rival=0.5, resolve=0.05, repeat=0.1, one_open=True
)
"""Windows without faults: one aggregated request each, and never two open requests of a problem."""

STORM_EARLY = replace(STORM, name="storm-early", hold=EARLY, resolve=0.0)

STORM_CRASH = Profile(
    "storm-crash",
    replicas=3,
    problems=3,
    hold=SHORT,
    redis_fault=0.1,
    kube_fault=0.1,
    outage=0.05,
    lag=0.1,
    crash=0.1,
    pause=0.05,
    close=0.1,
    rival=0.3,
    resolve=0.05,
    lost_answer=0.03,
    relist=0.02,
)

STORM_LOSS = Profile(
    "storm-loss",
    problems=3,
    hold=TINY,
    redis_fault=0.1,
    kube_fault=0.1,
    outage=0.05,
    lag=0.1,
    flush=0.05,
    evict=0.3,
    failover=0.1,
    pause=0.05,
    close=0.1,
    rival=0.3,
    lost_answer=0.03,
    relist=0.02,
)

STORM_BOTH = Profile(
    "storm-both",
    problems=4,
    hold=EARLY,
    redis_fault=0.3,
    kube_fault=0.3,
    close=0.1,
    rival=0.5,
    deliveries=24,
    repeat=0.2,
)

STORM_DELETE = Profile(
    "storm-delete", problems=3, hold=SHORT, redis_fault=0.1, lag=0.05, close=0.05, delete=0.1, resolve=0.05
)

JOURNAL = Profile(
    "journal",
    journal=True,
    redis_fault=0.1,
    kube_fault=0.1,
    outage=0.1,
    lag=0.1,
    crash=0.05,
    calamity=0.1,
    flush=0.05,
    evict=0.1,
    failover=0.1,
    pause=0.05,
    close=0.1,
    rival=0.3,
    resolve=0.05,
    lost_answer=0.03,
    relist=0.02,
)
"""Replicas die and Redis forgets, together too; whoever follows a dead replica finds its journal."""

JOURNAL_STORM = replace(
    JOURNAL, name="journal-storm", replicas=3, problems=3, hold=SHORT, outage=0.05, resolve=0.0
)

JOURNAL_DISK = replace(CRASH, name="journal-disk", journal=True, disk_fault=0.3, one_open=False)
"""Disks that fail: what Redis took is accepted all the same, and lives as long as Redis does."""

JOURNALS = (JOURNAL, JOURNAL_STORM, JOURNAL_DISK)

WINDOWS = (STORM, STORM_EARLY, STORM_CRASH, STORM_LOSS, STORM_BOTH, STORM_DELETE)

BREAKERS = (
    replace(CRASH, name="breakers-crash", breakers=True, outage=0.3),
    replace(LOSS, name="breakers-loss", breakers=True, outage=0.3),
    replace(STORM_CRASH, name="breakers-storm", breakers=True, outage=0.2),
)
"""Outages long enough that calls are not tried any more, and go on at once when they are over."""

SLOW = Profile(
    "slow",
    replicas=1,
    problems=4,
    deliveries=40,
    duration=30.0,
    kube_fault=0.05,
    slow=0.4,
    concurrency=2,
    alone=True,
    repeat=0.1,
)
"""Kubernetes takes seconds and has nobody beside it, so that webhooks run out of time with their alerts under way."""

ALL = (CALM, KUBE, REDIS, BOTH, CRASH, LOSS, NOTES, FORK, DELETE, CROWD, SLOW, *WINDOWS, *JOURNALS, *BREAKERS)
BY_NAME = {profile.name: profile for profile in (*ALL, BURST)}
