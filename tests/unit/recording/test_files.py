"""Files of recordings: what was appended is read back, wherever the writer was cut off, whoever wrote before."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.recording.lines import Entry, Header, encode
from gateway.recording.reading import RecordingError, read
from gateway.recording.writing import RecordingFile, Rotation, may_pass

HEADER = Header(recording=1, started_at="2026-01-31T09:00:00.000Z", by="test")
NAMES = pytest.mark.parametrize("name", ["r.jsonl.gz", "r.jsonl"])


def entry(number: int, body: bytes | None = None) -> Entry:
    text = b'{"alerts":[%d]}' % number if body is None else body
    return Entry(offset=number / 10, time="2026-01-31T09:00:01.000Z", body=text, status=202)


def write(path: Path, *batches: list[Entry], close: bool = True) -> None:
    file = RecordingFile(path, HEADER)
    for batch in batches:
        file.append(map(encode, batch))
    if close:
        file.close()
    else:
        os.close(file._descriptor)  # as a kill does: the member has no end


def bodies(path: Path) -> tuple[list[bytes], list[str]]:
    """The bodies in the file, and the warnings about it."""
    warnings: list[str] = []
    records = list(read(path, warnings.append))
    return [record.body for record in records if isinstance(record, Entry)], warnings


@NAMES
def test_what_was_appended_is_read_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, [entry(1), entry(2, b"\xff\x00\n")], [], [entry(3, b"x" * 3_000_000)])
    assert list(read(path, pytest.fail)) == [
        HEADER,
        entry(1),
        entry(2, b"\xff\x00\n"),
        entry(3, b"x" * 3_000_000),
    ]
    assert path.read_bytes().startswith(b"\x1f\x8b") is name.endswith(".gz")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_compressed_recording_is_ordinary_gzip(tmp_path: Path) -> None:
    path = tmp_path / "r.gz"
    write(path, [entry(1)])
    write(path, [entry(2)])
    assert gzip.decompress(path.read_bytes()) == b"".join(map(encode, [HEADER, entry(1), HEADER, entry(2)]))


@NAMES
def test_a_file_is_continued_and_never_overwritten(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, [entry(1)])
    before = path.read_bytes()
    write(path, [entry(2)])
    assert path.read_bytes().startswith(before)
    assert list(read(path, pytest.fail)) == [HEADER, entry(1), HEADER, entry(2)]


@NAMES
def test_what_was_appended_is_there_when_the_process_is_killed(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write(path, [entry(1)], [entry(2)], close=False)
    found, warnings = bodies(path)
    assert found == [entry(1).body, entry(2).body]
    assert bool(warnings) is name.endswith(".gz")  # a text without an end looks like a whole one
    write(path, [entry(3)], close=False)
    write(path, [entry(4)])
    assert bodies(path)[0] == [entry(number).body for number in (1, 2, 3, 4)]


LONG = [entry(number, os.urandom(40) + b"%d" % number) for number in range(40)]


@given(st.data())
@NAMES
def test_a_file_torn_at_any_byte_is_read_up_to_there_and_what_follows_is_found(
    name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    path = folder / name
    write(path, LONG[:20], LONG[20:])
    whole = path.read_bytes()
    length = data.draw(st.integers(1, len(whole) - 1), "length")
    path.write_bytes(whole[:length])
    found, warnings = bodies(path)
    assert found == [one.body for one in LONG[: len(found)]]
    assert len(warnings) <= 1
    assert warnings or name == "r.jsonl"
    write(path, [entry(99)])
    again, _ = bodies(path)
    assert again[-1] == entry(99).body
    assert again[:-1] == [one.body for one in LONG[: len(again) - 1]]
    assert len(again) > len(found)


def test_more_lines_are_read_the_later_it_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "r.gz"
    write(path, LONG[:20], LONG[20:])
    whole = path.read_bytes()
    counts = []
    for length in range(0, len(whole), 50):
        path.write_bytes(whole[:length])
        counts.append(len(bodies(path)[0]))
    assert counts == sorted(counts)
    assert counts[-1] == 40
    assert len(set(counts)) > 20


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense\n",
        b'{"alerts":[]}\n',
        encode(entry(1)),
        gzip.compress(b"no recording\n", mtime=0),
        b"\0" * 100 + b"\n",
    ],
)
def test_another_file_is_no_recording(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="no recording"):
        bodies(path)


def test_damage_in_the_middle_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(encode(HEADER) + b'{"offset":\n' + encode(entry(1)))
    with pytest.raises(RecordingError, match=r"r\.jsonl:2: "):
        bodies(path)


def test_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'{"recording":2,"startedAt":"2026-01-31T09:00:00Z"}\n')
    with pytest.raises(RecordingError, match="version 2"):
        bodies(path)


def test_a_last_line_without_its_end_counts_where_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes((encode(HEADER) + encode(entry(1)))[:-1])
    assert bodies(path) == ([entry(1).body], [])


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.gz"
    path.touch()
    assert bodies(path) == ([], [])


def test_two_processes_never_write_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "r.gz"
    file = RecordingFile(path, HEADER)
    with pytest.raises(BlockingIOError):
        RecordingFile(path, HEADER)
    file.close()
    write(path, [entry(1)])


FULL = """
import os, resource, signal, sys
from pathlib import Path
from gateway.recording.lines import Entry, Header, encode
from gateway.recording.writing import Rotation
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
file = Rotation(Path(sys.argv[1]), Header(recording=1, started_at="2026-01-31T09:00:00Z"), 1 << 20)
failed = 0
for number in range(8):
    body = os.urandom(20 if number % 2 else 2500)
    try:
        file.append([encode(Entry(offset=number, time="2026-01-31T09:00:00Z", body=body))])
    except OSError:
        failed += 1
file.close()
print(failed)
"""


@NAMES
def test_a_write_that_fails_leaves_no_half_batch_and_smaller_ones_go_on(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    done = subprocess.run(
        [sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    found, warnings = bodies(path)
    assert 0 < len(found) == 8 - int(done.stdout) < 8
    assert 20 in map(len, found)
    assert name == "r.jsonl.gz" or not warnings


@pytest.mark.parametrize(
    ("name", "older"),
    [
        ("webhooks.jsonl.gz", "webhooks.1.jsonl.gz"),
        ("webhooks.jsonl", "webhooks.1.jsonl"),
        ("r.gz", "r.1.gz"),
        ("r", "r.1"),
        (".r.gz", ".r.1.gz"),
    ],
)
def test_a_full_file_becomes_the_older_of_two(name: str, older: str, tmp_path: Path) -> None:
    rotation = Rotation(tmp_path / name, HEADER, 10_000)
    assert rotation.older == tmp_path / older
    for number in range(100):
        rotation.append([encode(entry(number, os.urandom(300)))])
    rotation.close()
    files = sorted(tmp_path.iterdir())
    assert files == sorted([tmp_path / name, tmp_path / older])
    assert all(path.stat().st_size < 11_000 for path in files)
    offsets = [
        record.offset
        for path in (tmp_path / older, tmp_path / name)
        for record in read(path, pytest.fail)
        if isinstance(record, Entry)
    ]
    assert offsets == [number / 10 for number in range(100 - len(offsets), 100)]
    assert len(offsets) > 30


def test_a_path_that_cannot_be_is_told_from_a_disk_that_is_full(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        RecordingFile(tmp_path / "no" / "r.gz", HEADER)
    assert not may_pass(missing.value)
    with pytest.raises(IsADirectoryError) as folder:
        RecordingFile(tmp_path, HEADER)
    assert not may_pass(folder.value)
    assert may_pass(OSError(28, "No space left on device"))
    assert may_pass(BlockingIOError(11, "locked"))
