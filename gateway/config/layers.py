"""The layers of a configuration, file < environment < flags, laid over each other into one tree of plain
values.

Nothing is judged here but what cannot be read at all; the tree remembers which of its values came from the
environment or a flag, so that a fault can name the place to mend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import yaml
from pydantic import BaseModel

from gateway.config.settings import Settings

ENVIRONMENT_PREFIX = "GATEWAY__"

Tree = dict[str, Any]


class Layers:
    """The merged tree. `faults` are those of reading; `origin` tells where an overriding value came from."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.faults: list[str] = []
        self._origins: dict[tuple[str, ...], str] = {}

    def add_file(self, path: Path) -> None:
        """Lay the YAML mapping of a file over the tree. An empty file or section changes nothing."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            self.faults.append(f"{path}: cannot be read ({reason}); expected a YAML file")
            return
        loader = _Loader(text)
        try:
            data = loader.get_single_data()
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            self.faults.append(f"{path}: is not YAML: {_one_line(error)}")
            return
        finally:
            loader.dispose()
        self.faults += [f"{path}: {duplicate}; expected it once" for duplicate in loader.duplicates]
        if data is None:
            return
        if not isinstance(data, dict):
            self.faults.append(f"{path}: holds {type(data).__name__}; expected a mapping of sections")
            return
        self.tree = {str(name): section for name, section in data.items() if section is not None}

    def add_environment(self, environ: Mapping[str, str]) -> None:
        """Lay the variables `GATEWAY__SECTION__KEY` over the tree."""
        for name in sorted(environ):
            if name.upper().startswith(ENVIRONMENT_PREFIX):
                keys = tuple(part.lower() for part in name[len(ENVIRONMENT_PREFIX) :].split("__"))
                self._override(keys, environ[name], name)

    def add_flags(self, sets: Sequence[str]) -> None:
        """Lay flags of the form `section.key=value` over the tree, later ones over earlier ones."""
        for flag in sets:
            path, equals, text = flag.partition("=")
            if not equals:
                self.faults.append(f"--set {flag}: has no '='; expected section.key=value")
                continue
            self._override(tuple(path.strip().split(".")), text, f"--set {path.strip()}")

    def origin(self, keys: tuple[str, ...]) -> str | None:
        """Return the variable or flag that the value at `keys`, or around it, is from; None: the file."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self._origins:
                return self._origins[keys[:length]]
        return None

    def _override(self, keys: tuple[str, ...], text: str, origin: str) -> None:
        if not all(keys):
            self.faults.append(f"{origin}: names no key; expected a section and a key")
            return
        try:
            value = _read(keys, text)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            self.faults.append(f"{'.'.join(keys)} ({origin}): is not YAML: {_one_line(error)}")
            return
        node = self.tree
        for key in keys[:-1]:
            below = node.get(key)
            # An alias of YAML's can put one mapping in two places, so it is copied before it is changed.
            node[key] = dict(below) if isinstance(below, dict) else {}
            node = node[key]
        node[keys[-1]] = value
        self._origins = {known: name for known, name in self._origins.items() if known[: len(keys)] != keys}
        self._origins[keys] = origin


def _read(keys: tuple[str, ...], text: str) -> Any:
    """Return the value that `text` stands for: itself where the key takes text, else what it is in YAML."""
    kind = _annotation(keys)
    if kind is str:
        return text
    if set(get_args(kind)) == {str, NoneType}:
        return None if text in ("", "null", "~") else text
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader


def _annotation(keys: tuple[str, ...]) -> Any:
    model: Any = Settings
    for key in keys:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or key not in model.model_fields:
            return None
        model = model.model_fields[key].annotation
    return model


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


class _Loader(yaml.SafeLoader):
    """A SafeLoader that notes keys given twice, of which YAML's own would silently take the last."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,  # noqa: FBT001, FBT002 - as in the class above
    ) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    self.duplicates.append(f"line {key.start_mark.line + 1} gives {key.value!r} again")
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)
