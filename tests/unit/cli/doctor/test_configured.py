"""Files that the configuration names are looked for, whatever section they are in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.cli.doctor.configured import configured, reviews
from gateway.config.settings import Auth, Section, Settings
from gateway.resilience.diagnosis import Grade

NOWHERE = "/nowhere/at/all"


def keys_of_files(section: type[Section], above: str = "") -> list[str]:
    found = []
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += keys_of_files(field.annotation, f"{above}{name}.")
        elif name.endswith("_file") and name != "revocations_file":
            found.append(f"{above}{name}")
    return found


def with_value(key: str, value: str) -> Settings:
    data: dict[str, Any] = {}
    *sections, name = key.split(".")
    below = data
    for section in sections:
        below = below.setdefault(section, {})
    below[name] = value
    return Settings.model_validate(data)


def wrong(settings: Settings) -> list[str]:
    return [one.where for one in configured(settings, "test") if one.grade is Grade.WRONG]


@pytest.mark.parametrize("key", keys_of_files(Settings))
def test_a_file_that_is_not_there_is_named_by_its_key(key: str, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("x")
    assert wrong(with_value(key, NOWHERE)) == [key]
    assert wrong(with_value(key, str(there))) == []


@pytest.mark.parametrize("key", ["journal.path", "record.path"])
def test_what_the_gateway_writes_needs_a_folder_and_no_file(key: str, tmp_path: Path) -> None:
    assert wrong(with_value(key, NOWHERE)) == [key]
    assert wrong(with_value(key, str(tmp_path / "made"))) == []
    assert list(tmp_path.iterdir()) == []


def test_revoked_tokens_are_kept_beside_the_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("x")
    jwt = {"key_file": str(tmp_path / "key")}
    assert wrong(Settings.model_validate({"auth": {"mode": "jwt", "jwt": jwt}})) == []
    elsewhere = {"mode": "jwt", "jwt": jwt | {"revocations_file": NOWHERE}}
    assert wrong(Settings.model_validate({"auth": elsewhere})) == ["auth.jwt.revocations_file"]


def test_the_cluster_is_asked_for_reviews_only_where_they_are_needed() -> None:
    def asked(**auth: Any) -> list[str]:
        return [resource for _, resource in reviews(Auth.model_validate(auth))]

    access = {"access": {"verb": "post", "path": "/"}}
    assert asked(mode="bearer", tokenreview=access) == []
    assert asked(mode="tokenreview") == ["tokenreviews"]
    assert asked(mode=["bearer", "tokenreview"], tokenreview=access) == [
        "tokenreviews",
        "subjectaccessreviews",
    ]
