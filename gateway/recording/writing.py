"""Writing a recording: batches of lines, appended so that a kill at any moment leaves a readable file.

A name that ends in `.gz` is compressed. Each run that records appends a gzip member of its own, and each batch ends
with a sync flush: whatever is in the file then can be read, whether or not the member is ever finished. Nothing that a
file holds is overwritten, and one process at a time writes to it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.recording.lines import Header, encode

LEVEL: Final = 3
"""Of compression: a tenth of the size, at some 200 MB a second."""
GZIP: Final = 31
"""zlib's word for the gzip container with the largest window."""
MODE: Final = 0o600
"""Alerts may tell of what is nobody's business but the operator's."""


class RecordingFile:
    """A file being written. `size` is its size in bytes, `began` that which it had before."""

    def __init__(self, path: Path, header: Header) -> None:
        """Open or make the file, and begin a run. Raises `OSError`; `BlockingIOError` where another writes to it."""
        self.path: Final = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.began = self.size = os.fstat(self._descriptor).st_size
            self._packer = zlib.compressobj(LEVEL, wbits=GZIP) if path.suffix == ".gz" else None
            self.append([self._line_end(), encode(header)])
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, lines: Iterable[bytes]) -> None:
        """Write the lines and hand them to the system: they outlive this process.

        Raises `OSError`; then none of them is in the file, and it can only be closed.
        """
        batch = b"".join(lines)
        if self._packer is not None:
            batch = self._packer.compress(batch) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self._write(batch)

    def close(self) -> None:
        """End the run, and let go of the file. Safe to call twice; raises nothing."""
        if self._descriptor < 0:
            return
        with suppress(OSError, zlib.error):
            if self._packer is not None:
                self._write(self._packer.flush(zlib.Z_FINISH))
        os.close(self._descriptor)
        self._descriptor = -1

    def _write(self, batch: bytes) -> None:
        rest = memoryview(batch)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            # Half a batch would be a tear in the middle of the file. Nobody else writes to it: the lock says so.
            with suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            self._packer = None
            raise
        self.size += len(batch)

    def _line_end(self) -> bytes:
        """What ends a line that a killed process left without an end, in a file that is not compressed."""
        if self._packer is not None or not self.size:
            return b""
        return b"" if os.pread(self._descriptor, 1, self.size - 1) == b"\n" else b"\n"


class Rotation:
    """A recording within bounds: past `limit` bytes the file becomes the older one, and a new one begins.

    So the disk holds at most twice the limit, and always the newest webhooks. The file is opened by the first use, and
    again by the first use after an error.
    """

    def __init__(self, path: Path, header: Header, limit: int) -> None:
        self._path = path
        self._header = header
        self._limit = limit
        self._file: RecordingFile | None = None

    @property
    def older(self) -> Path:
        """Where the file goes when it is full: `webhooks.jsonl.gz` becomes `webhooks.1.jsonl.gz`."""
        packed = ".gz" if self._path.suffix == ".gz" else ""
        root, extension = os.path.splitext(self._path.name.removesuffix(packed))  # noqa: PTH122 - Path has no such word
        return self._path.with_name(f"{root}.1{extension}{packed}")

    def open(self) -> None:
        """Make sure that it can be written. Raises `OSError`."""
        self._opened()

    def append(self, lines: Iterable[bytes]) -> None:
        """Write the lines. Raises `OSError`; then none of them is in the file."""
        try:
            file = self._opened()
            if file.size >= self._limit:
                self.close()
                self._path.replace(self.older)
                file = self._opened()
            file.append(lines)
        except OSError:
            self.close()
            raise

    def _opened(self) -> RecordingFile:
        if self._file is None:
            self._file = RecordingFile(self._path, self._header)
        return self._file

    def close(self) -> None:
        """End the run. Safe to call twice; raises nothing."""
        if self._file is not None:
            self._file.close()
            self._file = None


def may_pass(error: OSError) -> bool:
    """Whether writing may work later without anybody's change of the path: a full disk, somebody else's lock."""
    return error.errno not in {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENAMETOOLONG,
        errno.ELOOP,
    }
