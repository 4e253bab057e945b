"""What happens at the Kubernetes API, for whoever counts it: the client knows no metrics, they subscribe."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Verb(StrEnum):
    """What a call does, in Kubernetes' words; the label of a metric."""

    GET = "get"
    LIST = "list"
    WATCH = "watch"
    CREATE = "create"
    PATCH = "patch"
    DELETE = "delete"
    PROBE = "probe"
    """No verb of Kubernetes': a create that is only rehearsed there, to see whether writes pass again."""
    EVENT = "event"
    """A create of an event: apart from those of requests, which people count."""


class Observer(Protocol):
    """Called synchronously, on the event loop; must be quick and must not raise."""

    def called(self, verb: Verb, code: int, seconds: float, error: str) -> None:
        """A call ended. `code` is the HTTP status, 0 where no answer came; `seconds` until the whole answer
        was read (of a watch: until its headers); `error` is the name of the error it became, empty for a
        success."""

    def relisted(self, what: str) -> None:
        """A reflector read its whole collection again; `what` is the collection's name."""

    def skipped(self, what: str, count: int) -> None:
        """Objects were left out because they could not be read."""

    def credentials_reloaded(self) -> None:
        """A 401 made the client load its configuration again."""


class NullObserver:
    """Sees nothing."""

    def called(self, verb: Verb, code: int, seconds: float, error: str) -> None: ...

    def relisted(self, what: str) -> None: ...

    def skipped(self, what: str, count: int) -> None: ...

    def credentials_reloaded(self) -> None: ...
