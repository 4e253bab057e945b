"""A line of a recording gives back what went into it, and nothing of it is a credential."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.recording.lines import VERSION, Entry, Header, LineError, decode, encode, moment, stamp

NOW = "2026-01-31T09:00:00.412Z"
TEXT = st.text(st.characters(codec="utf-8"), max_size=50)


@given(
    body=st.binary(max_size=300) | st.text().map(lambda text: text.encode(errors="replace")),
    offset=st.integers(-(10**9), 10**12).map(lambda milliseconds: milliseconds / 1000),
    status=st.none() | st.integers(100, 599),
    content_type=TEXT,
    user_agent=TEXT,
)
def test_an_entry_comes_back_to_the_byte(
    body: bytes, offset: float, status: int | None, content_type: str, user_agent: str
) -> None:
    entry = Entry(
        offset=offset, time=NOW, body=body, status=status, content_type=content_type, user_agent=user_agent
    )
    line = encode(entry)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == entry


def test_text_is_kept_as_text_and_what_is_no_utf_8_as_base64() -> None:
    assert json.loads(encode(Entry(offset=0, time=NOW, body=b'{"a":1}')))["body"] == '{"a":1}'
    binary = json.loads(encode(Entry(offset=0, time=NOW, body=b"\xff\x00")))
    assert binary["base64"] == "/wA="
    assert "body" not in binary


def test_a_header_of_any_length_and_any_bytes_is_cut_and_made_sound() -> None:
    entry = decode(encode(Entry(offset=0, time=NOW, body=b"", user_agent="\udcff" + "x" * 5000)))
    assert isinstance(entry, Entry)
    assert entry.user_agent == "?" + "x" * 999


def test_a_header_comes_back_and_further_keys_are_skipped() -> None:
    header = Header(recording=VERSION, started_at=NOW, by="test")
    assert decode(encode(header)) == header
    further = {"recording": 1, "startedAt": NOW, "new": [1]}
    assert decode(json.dumps(further).encode()) == Header(recording=1, started_at=NOW)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"recording":1}',
        b'{"recording":1,"startedAt":"soon"}',
        b'{"offset":0,"time":"2026-01-31T09:00:00Z"}',
        b'{"offset":0,"time":"2026-01-31T09:00:00Z","body":"","base64":""}',
        b'{"offset":0,"time":"2026-01-31T09:00:00Z","base64":"?"}',
        b'{"offset":1e999,"time":"2026-01-31T09:00:00Z","body":""}',
        b'{"offset":0,"time":"2026-01-31T09:00:00","body":""}',
        b'{"offset":0,"time":"2026-01-31T09:00:00Z","body":"\xff"}',
        b"[" * 100_000,
    ],
)
def test_anything_else_is_an_error_of_the_line(line: bytes) -> None:
    with pytest.raises(LineError):
        decode(line)


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_a_stamp_names_its_millisecond(nanoseconds: int) -> None:
    instant = moment(stamp(nanoseconds))
    assert instant.tzinfo is UTC
    since = instant - datetime(1970, 1, 1, tzinfo=UTC)
    assert since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000 == nanoseconds // 10**6
