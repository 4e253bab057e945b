"""The journal's lines: what is written is read, whatever became of the end, and of the middle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.entries import HEADER, Entry, Kept, is_journal, line, merged, parse, read
from gateway.model import Signal
from tests.unit.engine.journals import HOLD, THREE, a_signal

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NUMBER = st.integers(0, 2**53)


@st.composite
def signals(draw: st.DrawFn) -> Signal:
    return a_signal(
        alertname=draw(TEXT),
        labels=draw(st.dictionaries(TEXT, TEXT, max_size=3)),
        annotations=draw(st.dictionaries(TEXT, TEXT, max_size=3)),
        raw=draw(st.binary(max_size=30)),
    )


@st.composite
def some_entries(draw: st.DrawFn) -> list[Entry]:
    return draw(
        st.lists(
            st.builds(
                Entry,
                slot=TEXT,
                value=NUMBER,
                base=NUMBER,
                window=TEXT,
                storming=st.booleans(),
                window_end=NUMBER,
                signal=st.none() | signals(),
                hold=st.none() | st.just(HOLD),
            ),
            max_size=6,
        )
    )


@given(some_entries())
def test_what_is_written_is_read(entries: list[Entry]) -> None:
    assert [parse(line(entry)[:-1]) for entry in entries] == entries
    assert all(line(entry).count(b"\n") == 1 for entry in entries)


def lines(*entries: Entry) -> bytes:
    return HEADER + b"".join(map(line, entries))


def test_a_file_that_ends_anywhere_holds_every_line_before() -> None:
    content = lines(*THREE)
    ends = [len(lines(*THREE[:number])) for number in range(4)]

    for length in range(len(content) + 1):
        kept = read(content[:length])

        assert is_journal(content[:length])
        whole = max([number for number, end in enumerate(ends) if end <= length], default=0)
        assert kept.entries == THREE[:whole]
        assert kept.damaged == (length > ends[0] and length not in ends)


@pytest.mark.parametrize("position", range(0, len(line(THREE[1])), 7))
def test_a_damaged_line_costs_itself_only(position: int) -> None:
    content = bytearray(lines(*THREE))
    content[len(lines(THREE[0])) + position] ^= 0x01

    kept = read(bytes(content))

    assert kept.entries == [THREE[0], THREE[2]]
    assert kept.damaged >= 1


def test_zeroes_that_a_file_system_left_are_no_entries() -> None:
    assert read(lines(*THREE) + bytes(4096)).entries == THREE
    assert read(b"").entries == []


@given(some_entries(), st.randoms(use_true_random=False), st.integers(1, 3))
def test_reading_twice_or_in_another_order_changes_no_number(
    entries: list[Entry], random: object, times: int
) -> None:
    shuffled = entries * times
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def numbers(several: list[Entry]) -> dict[str, tuple[int, int]]:
        return {entry.slot: (entry.value, entry.base) for entry in merged(several)}

    assert numbers(shuffled) == numbers(entries)


def test_a_short_line_means_what_an_earlier_one_says_of_the_request() -> None:
    (entry,) = read(
        lines(THREE[0], Entry(slot="p.0", value=7, base=3, window="w", storming=True, window_end=9))
    ).entries

    assert entry == Entry(
        slot="p.0",
        value=7,
        base=3,
        window="w",
        storming=True,
        window_end=9,
        signal=a_signal(),
        hold=HOLD,
    )


def test_a_later_episode_replaces_what_the_request_is_made_of() -> None:
    later = a_signal(starts_at="2026-02-01T00:00:00.000000000Z")

    (entry,) = read(lines(THREE[0], Entry(slot="p.0", value=3, signal=later))).entries

    assert entry.signal == later
    assert entry.hold is None


def test_what_is_settled_is_not_kept() -> None:
    settled = Entry(slot="p.0", base=2)

    assert read(lines(*THREE, settled)).entries == THREE[1:]
    assert read(lines(settled, *THREE)).entries == THREE[1:]
    assert read(lines(*THREE, Entry(slot="p.0", base=1))).entries[0].base == 1


def test_an_entry_of_which_nobody_knows_what_it_is_about_counts_as_damage() -> None:
    assert read(lines(Entry(slot="p.9", value=1))) == Kept([], damaged=1)


@pytest.mark.parametrize("content", [b"something else\n", b"#!/bin/sh\n", b"\n", b"\x00"])
def test_other_files_are_no_journals(content: bytes) -> None:
    assert not is_journal(content)
