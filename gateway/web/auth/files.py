"""Files of credentials that are read again when they change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog

from gateway.errors import ConfigurationError

log = structlog.get_logger(__name__)

RECHECK: Final = 2.0
"""Seconds between looks at a file: a change counts within five seconds of it."""

Content = TypeVar("Content")
Version = tuple[int, int, int]


class WatchedFile(Generic[Content]):
    """A file, and what was read from it last.

    A change is noticed within five seconds, by a look every two, when the content is asked for. A file that is gone or
    wrong after the start keeps the content that was read last.
    """

    def __init__(
        self, key: str, path: Path, read: Callable[[bytes], Content], clock: Callable[[], float]
    ) -> None:
        """Reads the file; raises `ConfigurationError` with every fault. `key` is the setting that names it, `clock` is
        monotonic, in seconds.
        """
        self._key = key
        self._path = path
        self._read = read
        self._clock = clock
        try:
            self._seen = version(path)
            self._content = read(path.read_bytes())
        except OSError as error:
            raise ConfigurationError([f"{key}: cannot read {path}: {error.strerror}"]) from error
        self._looked = clock()

    def content(self) -> Content:
        """What stands in it; the same object until the file changes."""
        now = self._clock()
        if now - self._looked >= RECHECK:
            self._looked = now
            self._refresh()
        return self._content

    def _refresh(self) -> None:
        try:
            found = version(self._path)
            if found == self._seen:
                return
            # Noted before the reading: if the file changes meanwhile, the next look sees another version again.
            self._seen = found
            self._content = self._read(self._path.read_bytes())
        except (OSError, ConfigurationError) as error:
            log.warning(
                "file not usable, what was read before stays",
                key=self._key,
                path=str(self._path),
                error=str(error),
            )
        else:
            log.info("file read again", key=self._key, path=str(self._path))


def version(path: Path) -> Version:
    """What differs once the file is replaced. Raises `OSError`."""
    # A secret mounted by Kubernetes is replaced through a symbolic link: then the inode differs.
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino
