"""Versions, history and views of the embedded API's store."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dev.kubernetes.store import SIZE_LIMIT, Change, Collection, Gone, Oversized, Versions


def body(name: str, namespace: str = "home", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}"}, **more}


def names(
    collection: Collection, version: int | None = None, *, namespace: str = "", after: str = ""
) -> list[str]:
    return [stored.name for stored in collection.view(version).after(after, namespace)]


def test_every_write_takes_the_next_version_whatever_it_writes() -> None:
    versions = Versions()
    first, second = Collection(versions), Collection(versions)
    assert [c.put(body("a")).version for c in (first, second, first)] == [2, 3, 4]
    stored = first.get("home", "a")
    assert stored is not None
    assert stored.body()["metadata"]["resourceVersion"] == "4"
    assert first.remove(stored).version == versions.current == 5


def test_what_is_too_large_is_refused_and_takes_no_version() -> None:
    versions = Versions()
    collection = Collection(versions)
    with pytest.raises(Oversized):
        collection.put(body("a", data="x" * SIZE_LIMIT))
    assert (versions.current, len(collection), names(collection)) == (1, 0, [])


def test_a_namespace_is_seen_alone_even_beside_one_whose_name_it_begins() -> None:
    collection = Collection(Versions())
    for namespace in ("a", "a-b", "a0", "b"):
        collection.put(body(f"in-{namespace}", namespace))
    assert names(collection, namespace="a") == ["in-a"]
    assert names(collection, namespace="a-b") == ["in-a-b"]
    assert names(collection, after="a/in-a") == ["in-a0", "in-b"]  # "-" sorts before "/", "0" after it


def test_a_watch_of_what_was_forgotten_is_gone() -> None:
    collection = Collection(Versions(), history=2)
    for number in range(3):
        collection.put(body(f"n{number}"))
    cursor = collection.cursor(1)
    assert [event.version for event in collection.since(cursor, 10)] == [2, 3, 4]
    collection.put(body("n3"))
    assert collection.horizon == 3
    with pytest.raises(Gone) as gone:
        collection.since(cursor, 10)
    assert gone.value.horizon == 3
    with pytest.raises(Gone):
        collection.cursor(2)
    with pytest.raises(Gone):
        collection.view(2)
    assert [event.stored.name for event in collection.since(collection.cursor(3), 10)] == ["n2", "n3"]


def test_listeners_hear_of_each_change() -> None:
    collection = Collection(Versions())
    heard: list[int] = []
    collection.listeners.add(lambda: heard.append(len(collection)))
    stored = collection.put(body("a"))
    collection.remove(stored)
    assert heard == [1, 0]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30), st.integers(1, 8))
def test_a_view_of_a_version_is_what_was_there_then(moves: list[tuple[str, bool]], history: int) -> None:
    versions = Versions()
    collection = Collection(versions, history=history)
    seen: dict[int, dict[str, bytes]] = {versions.current: {}}
    now: dict[str, bytes] = {}
    for name, keep in moves:
        stored = collection.get("home", name)
        if keep:
            now[name] = collection.put(body(name, step=versions.current)).raw
        elif stored is not None:
            collection.remove(stored)
            del now[name]
        seen[versions.current] = copy.copy(now)
    for version, then in seen.items():
        if version < collection.horizon:
            with pytest.raises(Gone):
                collection.view(version)
        else:
            view = {stored.name: stored.raw for stored in collection.view(version).after("", "")}
            assert view == dict(sorted(then.items()))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=20))
def test_the_history_replayed_gives_the_present(moves: list[tuple[str, bool]]) -> None:
    collection = Collection(Versions())
    for name, keep in moves:
        stored = collection.get("home", name)
        if keep:
            collection.put(body(name))
        elif stored is not None:
            collection.remove(stored)
    replayed: dict[str, int] = {}
    for event in collection.since(collection.cursor(1), 100):
        assert (event.change is Change.ADDED) is (event.stored.name not in replayed)
        if event.change is Change.DELETED:
            del replayed[event.stored.name]
        else:
            replayed[event.stored.name] = event.version
    assert replayed == {stored.name: stored.version for stored in collection.view().after("", "")}
