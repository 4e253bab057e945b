"""What a campaign's processes have to know, in one file: the campaign writes it, Locust's processes read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from chaos.load.mix import Kind, Mix
from chaos.load.shapes import BY_NAME, Shape

VARIABLE = "CHAOS_LOAD_PLAN"
"""The environment variable that names the file."""
BEGAN = "began.json"
"""Written by Locust's master into the folder: when the first turn counts from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One campaign, as far as it concerns who sends."""

    campaign: str
    scale: float
    duration: float | None
    """Seconds, where it is to last otherwise than it does by itself."""
    seed: int
    tag: str
    """Tells the problems of this run from those of any other."""
    folder: str
    workers: int
    urls: tuple[str, ...]
    """Of the gateways, which get the webhooks in turn."""
    tokens: tuple[str, ...]
    """Credentials that are good, used in turn; without any, none is shown, and nothing can be tampered with."""
    namespace: str
    denied: str
    """A namespace that the policy denies."""
    repeated_for: float
    """Seconds for which a problem is repeated."""
    retried_for: float
    """Seconds after which a delivery is given up, as Alertmanager's `group_interval`."""

    @property
    def shape(self) -> Shape:
        return BY_NAME[self.campaign](self.scale, self.duration)

    @property
    def shares(self) -> Mapping[Kind, int]:
        """Of each kind, in per cent. Without a credential none can be spoiled: what would be tampered with is new."""
        shares = self.shape.mix
        if self.tokens or Kind.TAMPERED not in shares:
            return shares
        new = shares.get(Kind.NEW, 0) + shares[Kind.TAMPERED]
        return {**{kind: share for kind, share in shares.items() if kind is not Kind.TAMPERED}, Kind.NEW: new}

    def mix(self, began: float) -> Mix:
        """Its turns' source; `began` is the wall time of the start."""
        return Mix(
            self.shares,
            self.seed,
            began=began,
            tag=self.tag,
            namespace=self.namespace,
            denied=self.denied,
            repeated_for=self.repeated_for,
        )

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises what `open` and `json` raise."""
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**found, "urls": tuple(found["urls"]), "tokens": tuple(found["tokens"])})


def spoiled(token: str, number: int) -> str:
    """A good credential with one character changed, so that it is none any more; which one, the number decides.

    The last characters stay as they are: in a signature they may say nothing.
    """
    body = token.rpartition(".")[2]
    place = len(token) - len(body) + number % max(1, len(body) - 4)
    other = "A" if token[place] != "A" else "B"
    return token[:place] + other + token[place + 1 :]
