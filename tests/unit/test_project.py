"""What holds for the tree as a whole: it names no machine and no registry, and its locks lock."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_LOCKS = ["requirements.lock", "requirements-build.lock", "requirements-dev.lock", "chaos/rig/wheels.lock"]

# Put together here, so that this file may be checked as well.
_REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("crates", "io"),
        ("repo", "maven", "apache", "org"),
        ("repo1", "maven", "org"),
        ("deb", "debian", "org"),
    )
]
_MACHINE_PATHS = re.compile(r"(?<![\w.~$}-])/(?:work|root|home/\w+)/")
_LOCK_LINE = re.compile(
    r"#.*"
    r"|[a-z0-9][a-z0-9.-]*(\[[a-z,-]+\])?==[\w.!+-]+( ; [\w .'<>=!()-]+?)?( \\)?"
    r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
)


def _files() -> list[Path]:
    """All files that are committed, or would be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := _ROOT / name).is_file()]


def _lines_with(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in _files():
        text = path.read_text(errors="ignore")
        found += [
            f"{path.relative_to(_ROOT)}:{number}: {line.strip()[:120]}"
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
    return found


def test_no_file_names_a_package_registry() -> None:
    assert _lines_with(re.compile("|".join(map(re.escape, _REGISTRIES)))) == []


def test_no_file_names_a_folder_of_one_machine() -> None:
    assert _lines_with(_MACHINE_PATHS) == []


@pytest.mark.parametrize("name", _LOCKS)
def test_a_lock_holds_names_versions_markers_and_hashes_only(name: str) -> None:
    lines = (_ROOT / name).read_text().splitlines()
    assert [line for line in lines if not _LOCK_LINE.fullmatch(line)] == []
    assert any("--hash" in line for line in lines)


def _pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (_ROOT / name).read_text(), re.MULTILINE))


def test_the_locks_agree_on_versions_and_the_development_lock_has_all() -> None:
    everything = _pins("requirements-dev.lock")
    for name in ("requirements.lock", "requirements-build.lock"):
        assert _pins(name).items() <= everything.items()


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {
        re.split(r"[^A-Za-z0-9._-]", wanted)[0].lower().replace("_", "-")
        for group in groups
        for wanted in group
    }
    assert names - _pins("requirements-dev.lock").keys() == set()
