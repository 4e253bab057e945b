"""What there is to say about a configuration of the gateway that can be used: doors that are open, and files that are
not there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

from gateway.cli.doctor.permissions import ACCESS_REVIEWS, TOKEN_REVIEWS, Review
from gateway.config.settings import Auth, AuthMode, Section, Settings
from gateway.resilience.diagnosis import Diagnosis, Grade

MADE: Final = frozenset({"auth.jwt.revocations_file"})
"""Files that the gateway makes itself."""


def configured(settings: Settings, source: str) -> list[Diagnosis]:
    """Each finding; `source` is where the configuration comes from."""
    found = [Diagnosis("configuration", "settings", source, Grade.OK, "can be used")]
    found += [
        Diagnosis(
            "configuration", "files", key, Grade.WRONG, f"{path} cannot be read", "see that it is there"
        )
        for key, path in _read(settings)
        if not os.access(path, os.R_OK)
    ]
    found += [
        Diagnosis(
            "configuration",
            "files",
            key,
            Grade.WRONG,
            f"{path} cannot be written",
            "see that its folder is there, and whose both are",
        )
        for key, path in _written(settings)
        if not _writable(path)
    ]
    if settings.anonymous_beyond_loopback:
        found.append(
            Diagnosis(
                "configuration",
                "authentication",
                "auth.mode",
                Grade.WARNING,
                f"whoever reaches {settings.server.host} may post alerts",
                "set auth.mode to bearer, unless the network keeps strangers away",
            )
        )
    if settings.chaos.enabled:
        found.append(
            Diagnosis(
                "configuration",
                "chaos",
                "chaos.enabled",
                Grade.WARNING,
                "faults can be injected into the running gateway",
                "leave it out, unless failures are to be rehearsed there",
            )
        )
    return found


def reviews(auth: Auth) -> list[Review]:
    """What authentication asks the cluster for."""
    if AuthMode.TOKENREVIEW not in auth.mode:
        return []
    return [TOKEN_REVIEWS, ACCESS_REVIEWS] if auth.tokenreview.access is not None else [TOKEN_REVIEWS]


def _read(section: Section, above: str = "") -> Iterator[tuple[str, str]]:
    """Key and path of each file that the configuration names for reading."""
    for name, value in section:
        key = f"{above}{name}"
        if isinstance(value, Section):
            yield from _read(value, f"{key}.")
        elif name.endswith("_file") and value is not None and key not in MADE:
            yield key, value


def _written(settings: Settings) -> Iterator[tuple[str, str]]:
    """Key and path of each file that the gateway writes."""
    if settings.journal.path is not None:
        yield "journal.path", settings.journal.path
    if settings.record.path is not None:
        yield "record.path", settings.record.path
    if AuthMode.JWT in settings.auth.mode and settings.auth.jwt.revocations_path is not None:
        yield "auth.jwt.revocations_file", settings.auth.jwt.revocations_path


def _writable(path: str) -> bool:
    """Whether it could be made, or replaced, which takes a folder that can be written."""
    folder = os.path.dirname(path) or "."  # noqa: PTH120 - so that `~` and `..` stay what they are
    return os.access(folder, os.W_OK | os.X_OK) and (not os.path.exists(path) or os.access(path, os.W_OK))  # noqa: PTH110
