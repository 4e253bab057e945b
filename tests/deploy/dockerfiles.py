"""What a Dockerfile says, as far as ours goes: stages of instructions, and what reaches them of the tree."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import dataclass, field
from pathlib import Path

Instruction = tuple[str, str]
"""Its word in capitals, and the rest of its lines."""


@dataclass
class Stage:
    """From one FROM to the next."""

    base: str
    name: str = ""
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[str]:
        return [rest for found, rest in self.instructions if found == word]

    def one(self, word: str) -> str:
        (found,) = self.all(word)
        return found

    def command(self, word: str) -> list[str]:
        """The words of an instruction in exec form; anything else is a fault."""
        found: list[str] = json.loads(self.one(word))
        return found


def stages(text: str) -> list[Stage]:
    """The stages, with the arguments before the first one filled in."""
    arguments: dict[str, str] = {}
    found: list[Stage] = []
    for word, rest in _instructions(text):
        for name, value in arguments.items():
            rest = rest.replace(f"${{{name}}}", value)
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(base, name))
        elif found:
            found[-1].instructions.append((word, rest))
        else:
            name, _, value = rest.partition("=")
            arguments[name] = value
    return found


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        found.append((word.upper(), " ".join(rest.split())))
    return found


class Context:
    """What of a tree is sent: all but what `.dockerignore` leaves out. The last line that fits decides."""

    def __init__(self, root: Path) -> None:
        self.root = root
        lines = (root / ".dockerignore").read_text().splitlines()
        self._rules = [line for line in lines if line and not line.startswith("#")]

    def holds(self, path: Path) -> bool:
        name = path.relative_to(self.root).as_posix()
        kept = True
        for rule in self._rules:
            pattern = rule.removeprefix("!")
            if any(_fits(part, pattern) for part in _parts(name)):
                kept = rule.startswith("!")
        return kept

    def files(self, source: str) -> list[Path]:
        """The files that a COPY of `source` takes."""
        start = self.root / source
        every = [start] if start.is_file() else start.rglob("*")
        return [path for path in every if path.is_file() and self.holds(path)]


def _parts(name: str) -> list[str]:
    """A path and the folders above it: who matches one of those takes what is below."""
    words = name.split("/")
    return ["/".join(words[: count + 1]) for count in range(len(words))]


def _fits(name: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(name.rpartition("/")[2], pattern.removeprefix("**/"))
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)
