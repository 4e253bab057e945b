"""The journal's file: one process's, complete at every moment, bounded, and honest about what it could not write."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.engine.entries import HEADER, Entry, Kept, read
from gateway.engine.logbook import Logbook
from gateway.errors import ConfigurationError
from tests.unit.engine.journals import THREE, a_signal

ROOMY = 1 << 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def opened(path: Path, *, max_size: int = ROOMY) -> tuple[Logbook, Kept]:
    logbook = Logbook(path, max_size=max_size)
    return logbook, logbook.open()


def kept_at(path: Path) -> list[Entry]:
    """What the next process would read."""
    logbook, kept = opened(path)
    logbook.close()
    return kept.entries


def kept_of(path: Path) -> list[Entry]:
    """The same, while it is in use."""
    return read(path.read_bytes()).entries


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Writes past it fail (EFBIG), the first of them only in part: as on a disk that becomes full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_the_next_process_reads_what_was_appended(path: Path) -> None:
    logbook, kept = opened(path)
    assert kept == Kept([])
    logbook.begin([])
    logbook.append(THREE[:2])
    logbook.append(THREE[2:])
    logbook.close()

    assert kept_at(path) == THREE
    assert path.read_bytes().startswith(HEADER)
    assert logbook.size == path.stat().st_size


def test_beginning_anew_leaves_nothing_but_what_is_given(path: Path) -> None:
    logbook, _ = opened(path)
    logbook.begin(THREE)
    logbook.begin(THREE[2:])
    logbook.append([Entry(slot="p.2", value=9)])
    logbook.close()

    assert [(entry.slot, entry.value) for entry in kept_at(path)] == [("p.2", 9)]
    assert sorted(file.name for file in path.parent.iterdir()) == ["journal", "journal.lock"]


def test_only_its_owner_may_read_it(path: Path) -> None:
    logbook, _ = opened(path)
    logbook.begin(THREE)
    logbook.close()

    assert path.stat().st_mode & 0o077 == 0


def test_a_second_process_is_refused_and_told_the_path(path: Path) -> None:
    logbook, _ = opened(path)
    second = (
        "import sys; from pathlib import Path; from gateway.engine.logbook import Logbook\n"
        "Logbook(Path(sys.argv[1]), max_size=1000).open()"
    )
    command = [sys.executable, "-c", second, str(path)]

    while_open = subprocess.run(command, capture_output=True, text=True, check=False)
    logbook.close()
    afterwards = subprocess.run(command, capture_output=True, text=True, check=False)

    assert while_open.returncode != 0
    assert f"journal.path: {path} is in use by another process" in while_open.stderr
    assert afterwards.returncode == 0, afterwards.stderr


def test_another_journal_object_of_the_same_process_is_refused_too(path: Path) -> None:
    logbook, _ = opened(path)
    with pytest.raises(ConfigurationError, match="in use"):
        opened(path)
    logbook.close()


def test_a_file_that_is_something_else_is_left_alone(path: Path) -> None:
    path.write_text("receivers: []\n")
    with pytest.raises(ConfigurationError, match="is not a journal"):
        opened(path)

    assert path.read_text() == "receivers: []\n"


def test_paths_that_can_be_no_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for impossible in (tmp_path, tmp_path / "missing" / "journal", tmp_path / "file" / "journal"):
        with pytest.raises(ConfigurationError, match=r"journal\.path: "):
            opened(impossible)


def test_a_torn_end_is_read_past(path: Path) -> None:
    logbook, _ = opened(path)
    logbook.begin(THREE)
    logbook.close()
    os.truncate(path, path.stat().st_size - 3)

    logbook, kept = opened(path)
    logbook.begin(kept.entries)
    logbook.append([THREE[2]])
    logbook.close()

    assert kept == Kept(THREE[:2], damaged=1)
    assert kept_at(path) == THREE


def test_past_its_size_it_takes_no_more_and_keeps_what_it_has(path: Path) -> None:
    logbook, _ = opened(path, max_size=4000)
    logbook.begin(THREE)
    short = [Entry(slot="p.0", value=number) for number in range(3, 9)]
    logbook.append(short)
    with pytest.raises(OSError, match=r"max_size"):
        logbook.append([Entry(slot=f"q.{number}", value=1, signal=a_signal()) for number in range(9)])
    logbook.close()

    assert path.stat().st_size <= 2000
    assert [entry.value for entry in kept_at(path)] == [8, 2, 2]


def test_a_write_that_stops_in_the_middle_raises_and_the_lines_before_it_are_there(path: Path) -> None:
    logbook, _ = opened(path)
    logbook.begin(THREE)
    with no_file_larger_than(logbook.size + 100), pytest.raises(OSError, match="File too large") as caught:
        logbook.append([Entry(slot="q.1", value=1, signal=a_signal())])
    assert caught.value.errno == errno.EFBIG
    assert path.stat().st_size == logbook.size + 100
    # Beginning anew is the way out.
    logbook.begin([*THREE, Entry(slot="q.1", value=1, signal=a_signal())])
    logbook.close()

    assert len(kept_at(path)) == 4


def test_a_new_file_that_does_not_fit_leaves_the_old_one(path: Path) -> None:
    logbook, _ = opened(path)
    logbook.begin(THREE)
    with no_file_larger_than(100), pytest.raises(OSError, match="File too large"):
        logbook.begin([*THREE, *THREE])
    logbook.close()

    assert kept_at(path) == THREE
    assert sorted(file.name for file in path.parent.iterdir()) == ["journal", "journal.lock"]


def test_on_a_full_disk_a_shorter_file_may_take_the_room_of_the_longer_one(path: Path) -> None:
    logbook, _ = opened(path)
    logbook.begin(THREE)
    beside = path.with_name("journal.new")
    beside.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        logbook.begin(THREE[1:])
    assert kept_of(path) == THREE

    beside.symlink_to("/dev/full")
    logbook.begin(THREE[1:], in_place=True)
    assert kept_of(path) == THREE[1:]
    logbook.append([THREE[0]])
    assert len(kept_of(path)) == 3
    # What is longer would not fit either.
    beside.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        logbook.begin([*THREE, Entry(slot="q.1", value=1, signal=a_signal())], in_place=True)
    assert len(kept_of(path)) == 3
    logbook.close()


def test_a_full_device_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    logbook, _ = opened(path)
    (tmp_path / "journal.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        logbook.begin(THREE)
    logbook.close()

    assert caught.value.errno == errno.ENOSPC
