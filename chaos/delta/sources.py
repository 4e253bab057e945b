"""Where the two expositions come from: files, or addresses that are asked now."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from chaos.exposition import Exposition, NotAnExposition, parse


class Unusable(Exception):
    """A source that cannot be had or is no exposition; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Source:
    """An exposition and when it was taken."""

    name: str
    exposition: Exposition
    at: float
    """Epoch seconds: when the file was written, or the address asked."""


def read(name: str) -> Source:
    """The exposition at a path, or at an address that begins with `http://` or `https://`. Raises `Unusable`."""
    try:
        if name.startswith(("http://", "https://")):
            with urllib.request.urlopen(name, timeout=10) as answer:
                text, at = answer.read().decode(), time.time()
        else:
            path = Path(name)
            text, at = path.read_text(encoding="utf-8"), path.stat().st_mtime
        return Source(name, parse(text), at)
    except UnicodeDecodeError as error:
        raise Unusable(f"{name}: it is not an exposition of metrics: no text") from error
    except NotAnExposition as error:
        raise Unusable(f"{name}: it is not an exposition of metrics: {error}") from error
    except urllib.error.URLError as error:
        raise Unusable(f"{name}: it does not answer: {error.reason}") from error
    except (OSError, ValueError) as error:
        raise Unusable(f"{name}: {getattr(error, 'strerror', None) or error}") from error
