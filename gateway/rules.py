"""The rules in force, and the file of the configuration that they come from, read again while the gateway runs.

An intake is immutable and holds all rules; a reload makes another one and puts it in its place, so that every alert,
and every alert of one webhook, is judged by one set of rules. It remembers alerts that were here before, but nothing
of what a policy said of them, nor who sent them.

What cannot be used changes nothing: the rules that were read last stay in force, `/readyz` warns, and the log tells
every fault. What only a restart can change is told in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from gateway.config.reload import Source, adopted, differing
from gateway.config.settings import Settings
from gateway.errors import ConfigurationError
from gateway.intake.classification import EnvironmentOf
from gateway.intake.reading import Intake
from gateway.telemetry.metrics import Metrics
from gateway.web.auth.files import Version, version

log = structlog.get_logger(__name__)

RECHECK: Final = 1.0
"""Seconds between looks. A file is read once it looked the same twice, so a change counts within some two seconds."""
SHOWN: Final = 5
"""So many paths a warning names."""

_ABSENT: Final[Version] = (0, 0, 0)


class Rules:
    """Which intake reads alerts now. `run` keeps it up to date with the file."""

    def __init__(
        self,
        settings: Settings,
        environment_of: EnvironmentOf,
        metrics: Metrics,
        source: Source | None = None,
        *,
        environments_known: Callable[[], bool] = lambda: True,
        pause: float = RECHECK,
    ) -> None:
        """`settings` were read from `source`; without one, and without a regular file in it, they stay for good.
        `pause`: seconds between two looks at it.
        """
        self._running = settings
        self._environment_of = environment_of
        self._environments_known = environments_known
        self._metrics = metrics
        self._pause = pause
        self._source = source if source and source.path and source.path.is_file() else None
        self._asked = asyncio.Event()
        # Never read here: the first looks find out whether the file changed since the settings were read from it.
        self._read: Version | None = None
        self._looked: Version | None = None
        self._unusable = ""
        self._waiting = ""
        self.intake = self._made()
        """The intake in force; another object after each change of the rules."""

    def warnings(self) -> Sequence[str]:
        """What an operator should know about the file now: paths and no values, as everybody may ask."""
        return [warning for warning in (self._unusable, self._waiting) if warning]

    def read_again(self) -> None:
        """Read the file at the next opportunity, changed or not."""
        if self._source is None:
            log.info("there is no file to read the configuration from again")
        self._asked.set()

    async def run(self) -> None:
        """Look at the file again and again, or when asked to; for a task."""
        if self._source is None:
            await asyncio.Event().wait()
            return
        while True:
            try:
                async with asyncio.timeout(self._pause):
                    await self._asked.wait()
            except TimeoutError:
                pass
            asked = self._asked.is_set()
            self._asked.clear()
            if self._settled() or asked:
                await self._reload(self._source, asked=asked)

    def _settled(self) -> bool:
        """Whether there is a file that was not read yet, and that nobody is writing any more."""
        found = self._version()
        same, self._looked = found == self._looked, found
        return same and found != self._read

    def _version(self) -> Version:
        """That of the file; `_ABSENT` where it cannot be looked at, which reading it will tell."""
        assert self._source is not None
        assert self._source.path is not None
        try:
            return version(self._source.path)
        except OSError:
            return _ABSENT

    async def _reload(self, source: Source, *, asked: bool) -> None:
        before = self._version()
        faults: list[str] = []
        found = None
        try:
            found = await asyncio.to_thread(source.load)
        except ConfigurationError as error:
            faults = error.faults
        if self._version() != before:
            return  # It changed meanwhile: the next looks see to it.
        self._read = before
        _, size, _ = before
        if size == 0 and not faults:
            # What a full disk leaves of a file. Its rules would be the defaults, which take everything.
            faults = [f"{source.path}: is empty; expected the sections of a configuration"]
        if found is None or faults:
            self._refuse(source, faults)
        else:
            self._adopt(found, asked=asked)

    def _refuse(self, source: Source, faults: Sequence[str]) -> None:
        paths = [
            fault.partition(": ")[0].replace(str(source.path), "the file as a whole") for fault in faults
        ]
        self._unusable = f"the configuration cannot be used, what was read before stays: {_named(paths)}"
        self._metrics.errors["reload"].inc()
        log.warning("configuration not usable, what was read before stays", faults=list(faults))

    def _adopt(self, found: Settings, *, asked: bool) -> None:
        mended, self._unusable = self._unusable, ""
        old, self._running = self._running, adopted(self._running, found)
        changed = list(differing(old, self._running))
        if changed:
            self.intake = self._made()
        if changed or mended or asked:
            log.info("configuration read again", changed=changed)
        waiting = list(differing(self._running, found))
        warning = f"these settings wait for a restart: {_named(waiting)}" if waiting else ""
        if warning and warning != self._waiting:
            log.warning("settings differ that need a restart", settings=waiting)
        self._waiting = warning

    def _made(self) -> Intake:
        intake = Intake(self._running, self._environment_of, self._environments_known)
        for reason in intake.denial_reasons:
            self._metrics.policy_denials[reason].inc(0)
        return intake


def _named(paths: Sequence[str]) -> str:
    more = len(paths) - SHOWN
    return ", ".join(paths[:SHOWN]) + (f" and {more} more" if more > 0 else "")
