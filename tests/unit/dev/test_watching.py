"""Streams of changes: bookmarks, ends, and what happens to a watcher that falls behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from gateway.dev.kubernetes.api import Api
from gateway.dev.kubernetes.kinds import MERGE, Kind
from gateway.dev.kubernetes.watching import Watch

Widget = Callable[..., dict[str, Any]]


def watch(api: Api, kind: Kind, **more: Any) -> Watch:
    return Watch(kind, api.collection(kind), api.versions, namespace="home", matches=None, **more)


def read(chunk: bytes) -> list[tuple[str, str]]:
    """Each event's type and version, an error's code in its place."""
    found = [json.loads(line) for line in chunk.splitlines()]
    return [
        (
            event["type"],
            event["object"].get("metadata", {}).get("resourceVersion") or str(event["object"]["code"]),
        )
        for event in found
    ]


async def collected(lines: AsyncIterator[bytes]) -> list[tuple[str, str]]:
    return [event async for chunk in lines for event in read(chunk)]


async def test_bookmarks_tell_how_far_the_watch_has_come(api: Api, widgets: Kind, widget: Widget) -> None:
    start = api.versions.current
    bookmarked = watch(api, widgets, bookmarks=True, bookmark_interval=0.02)
    async with aclosing(bookmarked.lines(start, 5)) as lines:
        assert read(await anext(lines)) == [("BOOKMARK", str(start))]
        api.create(widgets, "home", widget("one"))
        seen = []
        while not seen or seen[-1][0] != "BOOKMARK" or seen[-1][1] == str(start):
            seen += read(await anext(lines))
    assert [event for event in seen if event[1] != str(start)] == [
        ("ADDED", str(start + 1)),
        ("BOOKMARK", str(start + 1)),
    ]


async def test_a_bookmark_comes_before_the_end(api: Api, widgets: Kind) -> None:
    start = api.versions.current
    bookmarked = watch(api, widgets, bookmarks=True, bookmark_interval=60)
    assert await collected(bookmarked.lines(start, 0.01)) == [("BOOKMARK", str(start))]
    assert await collected(watch(api, widgets).lines(start, 0.01)) == []


async def test_a_streaming_list_says_where_it_ends(api: Api, widgets: Kind, widget: Widget) -> None:
    made = api.create(widgets, "home", widget("one")).stored
    chunks = [chunk async for chunk in watch(api, widgets).lines(None, 0.01, announce=True)]
    assert read(b"".join(chunks)) == [("ADDED", str(made.version)), ("BOOKMARK", str(api.versions.current))]
    annotations = json.loads(chunks[-1])["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}


async def test_a_watcher_that_falls_behind_is_told_to_list_again(
    api: Api, widgets: Kind, widget: Widget
) -> None:
    api.create(widgets, "home", widget("one"))
    async with aclosing(watch(api, widgets).lines(api.versions.current, 5)) as lines:
        waiting = asyncio.ensure_future(anext(lines))
        await asyncio.sleep(0)
        for size in range(2, 9):  # more than the history of four holds twice
            api.patch(widgets, "home", "one", MERGE, {"spec": {"size": size}})
        api.patch(widgets, "home", "one", MERGE, {"spec": {"size": 1}})
        assert read(await waiting) == [("ERROR", "410")]


async def test_a_stopped_watch_ends_and_leaves_no_listener(api: Api, widgets: Kind) -> None:
    stopped = watch(api, widgets)
    reading = asyncio.ensure_future(collected(stopped.lines(api.versions.current, 60)))
    await asyncio.sleep(0)
    assert len(api.collection(widgets).listeners) == 1
    stopped.stop()
    assert await asyncio.wait_for(reading, 5) == []
    assert api.collection(widgets).listeners == set()


async def test_a_burst_comes_whole_and_in_order(api: Api, widgets: Kind, widget: Widget) -> None:
    start = api.versions.current
    api.collection(widgets)._limit = 10_000
    for number in range(1200):
        api.create(widgets, "home", widget(f"n{number}"))
    seen = await collected(watch(api, widgets).lines(start, 0.01))
    assert seen == [("ADDED", str(start + 1 + number)) for number in range(1200)]
