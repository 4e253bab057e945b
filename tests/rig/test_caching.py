"""Made programs are made once, kept under what decides them, and a failure leaves nothing that looks made."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaos.rig import progress
from chaos.rig.caching import BuildFailed, cached, make


class Sample:
    """A recipe that takes its time; `version` is what it finds out only by making."""

    def __init__(self, *, key: str = "a" * 64, version: str = "", error: Exception | None = None) -> None:
        self.key = key
        self.version = version
        self.error = error
        self.made = 0

    def make(self, target: Path, say: progress.Line) -> str:
        target.write_text(self.version)
        time.sleep(0.1)
        if self.error:
            raise self.error
        self.made += 1
        return self.version


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_of_several_runs_one_makes_it() -> None:
    recipe = Sample()
    with ThreadPoolExecutor(4) as runs:
        places = set(runs.map(lambda _: make("tool", recipe, progress.silent), range(4)))
    assert recipe.made == 1
    assert places == {cached("tool", recipe)}


def test_another_key_is_another_place() -> None:
    old, new = Sample(), Sample(key="b" * 64)
    made = make("tool", old, progress.silent)
    assert cached("tool", new) is None
    assert make("tool", new, progress.silent) != made


def test_a_version_that_is_known_only_afterwards_names_the_folder() -> None:
    recipe = Sample(version="1:2.42.0+ds-5~1")
    made = make("tool", recipe, progress.silent)
    # LD_PRELOAD would be cut at a colon.
    assert made.parent.name == f"tool-{'a' * 16}-1_2.42.0+ds-5~1"
    assert make("tool", recipe, progress.silent) == made
    assert recipe.made == 1


@pytest.mark.parametrize("error", [BuildFailed("no luck"), OSError("no luck")])
def test_what_failed_is_not_taken_for_made(error: Exception) -> None:
    recipe = Sample(error=error)
    with pytest.raises(BuildFailed, match="no luck"):
        make("tool", recipe, progress.silent)
    assert cached("tool", recipe) is None
    recipe.error = None
    assert make("tool", recipe, progress.silent).exists()
