"""A component that cannot be had is a skip in capitals, and a failure in CI: never a silent pass."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_BODY = "def test_it(start_toxiproxy):\n    start_toxiproxy()\n"


@pytest.mark.parametrize(
    ("environment", "outcome"), [({}, "1 skipped"), ({"CI": "true"}, "1 failed")], ids=["here", "in CI"]
)
def test_a_missing_component_is_never_a_pass(
    tmp_path: Path, environment: dict[str, str], outcome: str
) -> None:
    (tmp_path / "test_sample.py").write_text(_BODY)
    plugins = [("-p", name) for name in ("tests.conftest", "no:cacheprovider", "no:xdist")]
    command = [sys.executable, "-m", "pytest", *(part for plugin in plugins for part in plugin)]
    command += ["-c", str(_ROOT / "pyproject.toml"), "--rootdir", str(tmp_path)]
    inherited = {key: value for key, value in os.environ.items() if key != "CI"}
    said = subprocess.run(
        [*command, "--basetemp", str(tmp_path / "base"), str(tmp_path / "test_sample.py")],
        cwd=_ROOT,
        env={**inherited, "XDG_CACHE_HOME": str(tmp_path / "empty"), **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    ).stdout
    assert outcome in said, said
    assert "NOT EVERYTHING WAS TESTED" in said
    assert "MISSING COMPONENT: TOXIPROXY IS NOT HERE" in said
    assert "1 TEST(S) DID NOT RUN" in said
