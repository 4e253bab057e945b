"""The journal's file: locked, read, replaced by a shorter one, appended to and synced. Blocking, for one thread.

There is one file. It is appended to, and replaced as a whole by one that holds only what is still wanted: written
beside it, synced, and renamed over it, so that at every moment one complete file is there. (Not so on a full disk,
where a long old file would be in the way of a short new one for ever.) That, and not patching the old one, is also the
way out of every failed write: after an error of `write` or `fsync` nobody knows what of it is on the disk, and the
kernel may have dropped it.

A lock file beside it (`flock`, freed by the kernel when the process ends, however it ends) keeps a second process
from the same path. It stays there: to delete it would let two processes lock two files of one name.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

from gateway.engine import entries
from gateway.engine.entries import HEADER, Entry, Kept
from gateway.errors import ConfigurationError

_MODE: Final = 0o600
"""Alerts may hold what others on the machine should not read."""

_FULL: Final = frozenset({errno.EROFS, errno.ENOSPC, errno.EDQUOT})

_BLOCK: Final = 1 << 20
"""Bytes that are gathered before they are written."""


class Pages(Protocol):
    """What the journal asks of its file. All may raise `OSError`, and are called one at a time."""

    @property
    def size(self) -> int:
        """Bytes of the file that is appended to."""

    def open(self) -> Kept:
        """Take the file, and return what it holds. Raises `ConfigurationError` where it cannot be ours."""

    def begin(self, kept: Sequence[Entry], *, in_place: bool = False) -> None:
        """Start anew with these entries and nothing else; durable when it returns.

        `in_place`: where there is no room beside the old file, the new one may take its room, although for that
        moment neither is whole.
        """

    def append(self, added: Iterable[Entry]) -> None:
        """Add entries; durable when it returns."""

    def close(self) -> None: ...


class Logbook:
    """The file at a path, of at most so many bytes: half for it, and half for the next one beside it."""

    def __init__(self, path: Path, *, max_size: int) -> None:
        self._path = path
        self._limit = max_size // 2
        self._lock = -1
        self._file = -1
        self.size = 0

    def open(self) -> Kept:
        """Raises `ConfigurationError` for another process's, somebody else's or an impossible path."""
        try:
            self._take_lock()
            content = self._path.read_bytes() if self._path.exists() else b""
            if not entries.is_journal(content):
                raise ConfigurationError(
                    [f"journal.path: {self._path} is not a journal; name a file that is, or a new one"]
                )
        except OSError as error:
            self.close()
            raise self._unusable(error) from error
        except ConfigurationError:
            self.close()
            raise
        return entries.read(content)

    def begin(self, kept: Sequence[Entry], *, in_place: bool = False) -> None:
        if not self._take_lock():
            raise OSError(errno.EROFS, "the journal's lock file cannot be written")
        self._let_go()
        try:
            self._file, self.size = self._write_beside(kept)
        except OSError as error:
            if not in_place or error.errno not in _FULL:
                raise
            self._file, self.size = self._write_over(kept)

    def _write_beside(self, kept: Sequence[Entry]) -> tuple[int, int]:
        beside = self._path.with_name(self._path.name + ".new")
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _MODE)
        try:
            size = self._write(file, 0, kept, HEADER)
            os.fsync(file)
            beside.replace(self._path)
            self._sync_folder()
        except BaseException:
            os.close(file)
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        return file, size

    def _write_over(self, kept: Sequence[Entry]) -> tuple[int, int]:
        """Only what is certainly shorter, so that the room that it gives up is enough."""
        file = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            if len(HEADER) + sum(len(entries.line(entry)) for entry in kept) > os.fstat(file).st_size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.ftruncate(file, 0)
            size = self._write(file, 0, kept, HEADER)
            os.fsync(file)
        except BaseException:
            os.close(file)
            raise
        return file, size

    def append(self, added: Iterable[Entry]) -> None:
        if self._file < 0:
            raise OSError(errno.EBADF, "the journal is not open")
        self.size = self._write(self._file, self.size, added, b"")
        os.fdatasync(self._file)

    def close(self) -> None:
        """Let the file and its lock go."""
        self._let_go()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _write(self, file: int, size: int, added: Iterable[Entry], head: bytes) -> int:
        """Write them, a block at a time; returns the new size."""
        block = bytearray(head)
        for entry in added:
            block += entries.line(entry)
            if len(block) >= _BLOCK:
                size = self._write_block(file, size, block)
                block.clear()
        return self._write_block(file, size, block)

    def _write_block(self, file: int, size: int, block: bytearray) -> int:
        if size + len(block) > self._limit:
            raise OSError(errno.EFBIG, "journal.max_size is reached")
        rest = bytes(block)
        while rest:
            rest = rest[os.write(file, rest) :]
        return size + len(block)

    def _take_lock(self) -> bool:
        """False where the disk takes no file: nobody can write there then, and nobody has to be kept away."""
        if self._lock >= 0:
            return True
        path = self._path.with_name(self._path.name + ".lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise ConfigurationError(
                [f"journal.path: {self._path} is in use by another process; give each one a path of its own"]
            ) from error
        except BaseException:
            os.close(lock)
            raise
        self._lock = lock
        return True

    def _sync_folder(self) -> None:
        """A rename is durable once its folder is."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _unusable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            [
                f"journal.path: {self._path}: {error.strerror}; name a file in a folder that exists and is yours"
            ]
        )
