"""The Lua scripts: their text, their SHA-1, and which of them may run when Redis is full.

Redis 7 takes flags in a script's first line, older ones do not know that line: so each script that has to work without
memory exists in two forms, and the version of the server that is asked decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

ALLOW_OOM = "#!lua flags=allow-oom\n"
FLAGS_SINCE = 7
"""The major version of Redis that knows them."""
SETTLED_LIFE = 3600.0
"""Seconds for which a settled record stays, unless somebody says otherwise."""
_SETTLED_LINE = "local SETTLED_LIFE = 3600000 "
"""Where `common.lua` says so, in milliseconds."""


@dataclass(frozen=True)
class Script:
    """A script as it is sent."""

    text: str
    sha: str


class Scripts:
    """All scripts by name, each prefixed with what it shares with others."""

    FILES: Mapping[str, str] = {
        name: name
        for name in (
            "admit",
            "arrange",
            "bury",
            "claim",
            "confirm",
            "confirm_window",
            "exhume",
            "hurry",
            "look",
            "note",
            "payloads",
            "postpone",
            "rate",
            "storms",
            "sweep",
            "take_notes",
        )
    } | {"resolve": "admit"}
    """`resolve` is the admission of what takes no memory: ended episodes alone, or what is there already."""
    WITH_WINDOWS = frozenset({"admit", "claim", "confirm_window", "look", "storms", "sweep"})
    REFUSED_WITHOUT_MEMORY = frozenset({"admit", "note"})
    """What is new is refused where there is no memory; what is there already must be written, settled and freed."""

    def __init__(self, settled_life: float = SETTLED_LIFE) -> None:
        """`settled_life` in seconds."""
        folder = resources.files("gateway.state") / "scripts"
        common = (folder / "common.lua").read_text(encoding="utf-8")
        lines = common.partition(_SETTLED_LINE)
        common = f"{lines[0]}local SETTLED_LIFE = {round(settled_life * 1000)} {lines[2]}"
        windows = (folder / "windows.lua").read_text(encoding="utf-8")
        self._plain: dict[str, Script] = {}
        self._flagged: dict[str, Script] = {}
        for name, file in self.FILES.items():
            shared = common + (windows if file in self.WITH_WINDOWS else "")
            text = shared + (folder / f"{file}.lua").read_text(encoding="utf-8")
            self._plain[name] = _script(text)
            refused = name in self.REFUSED_WITHOUT_MEMORY
            self._flagged[name] = self._plain[name] if refused else _script(ALLOW_OOM + text)

    def get(self, name: str, version: int) -> Script:
        """The form of a script for a server of this major version (0: unknown)."""
        return (self._flagged if version >= FLAGS_SINCE else self._plain)[name]


def _script(text: str) -> Script:
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
