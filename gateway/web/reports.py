"""What the web layer tells people and probers, as the types that are encoded; the engine's are in `engine.reports`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from gateway.engine.reports import EngineStatus, WindowReport
from gateway.web.problems import ProblemBody


class Alive(msgspec.Struct, frozen=True):
    """The process serves requests."""

    status: Literal["ok"] = "ok"


class ComponentReport(msgspec.Struct, frozen=True):
    """How one part is doing."""

    ok: bool
    detail: str
    """For people; empty where there is nothing to say."""


class Ready(msgspec.Struct, frozen=True):
    """Alerts can be accepted."""

    status: Literal["ready", "degraded"]
    """`degraded` where a component is not ok."""
    components: dict[str, ComponentReport]
    warnings: list[str]
    """What an operator should know of the configuration, and of parts that do not work now."""


class NotReady(ProblemBody, frozen=True, kw_only=True, rename="camel"):
    """Alerts cannot be accepted, and why."""

    components: dict[str, ComponentReport]
    warnings: list[str]
    """As where it is ready."""


class TaskReport(msgspec.Struct, frozen=True):
    """A background task."""

    running: bool
    restarts: int
    error: str
    """The type of its last error; empty if there was none."""


class RecordingReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The recording of webhooks. Figures count webhooks."""

    path: str
    written: int
    waiting: int
    left_out: int
    error: str
    """Why nothing can be written now; empty where it can."""


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What runs, since when, and how its tasks are doing."""

    version: str
    uptime: float
    """Seconds."""
    tasks: dict[str, TaskReport]
    recording: RecordingReport | None = None


class Status(EngineStatus, frozen=True, kw_only=True, rename="camel"):
    """The state of everything, from memory."""

    version: str
    uptime_seconds: float
    ready: bool
    """Alerts can be accepted now."""
    components: dict[str, ComponentReport]
    """As on `/readyz`."""
    warnings: list[str]
    """As on `/readyz`."""
    tasks: dict[str, TaskReport]
    recording: RecordingReport | None = None
    """Null where webhooks are not recorded."""


class Storms(msgspec.Struct, frozen=True):
    """The storm windows that collect, the next to end first."""

    windows: Sequence[WindowReport]
