"""What the documents name is there: tests, packages, functions, files and headings."""

from __future__ import annotations

import ast
import configparser
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_ARCHITECTURE = _ROOT / "docs" / "architecture.md"
_DOCUMENTS = sorted([*_ROOT.glob("*.md"), *_ROOT.glob("docs/**/*.md")])
_NAMES = [str(path.relative_to(_ROOT)) for path in _DOCUMENTS]
_GUARANTEES = [f"G{number}" for number in range(1, 8)]

_TEST = re.compile(r"`(?:tests/)?((?:[a-z_]+/)*test_\w+\.py)?(?:::(test_\w+))?`")
_LINK = re.compile(r"\]\(([^)\s]*)\)")
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _section(document: Path, heading: str) -> str:
    """What stands below a heading, up to the next one of its level."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", document.read_text(), re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def _rows(section: str) -> Iterator[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip() for cell in line.strip("|").split("|")]


def _tests(text: str) -> Iterator[tuple[str, str]]:
    """(file, test) of each test that a text names; the test is empty where the whole file is meant.

    A test without a file is one of the file before it.
    """
    file = ""
    for match in _TEST.finditer(text):
        file = match[1] or file
        if match[1] or match[2]:
            yield file, match[2] or ""


@cache
def _defined(file: str) -> frozenset[str]:
    """The tests of a file; none where there is no such file. A name alone will do where only one file has it."""
    tests = _ROOT / "tests"
    paths = [tests / file] if "/" in file else list(tests.glob(f"**/{file}"))
    if len(paths) != 1 or not paths[0].is_file():
        return frozenset()
    path = paths[0]
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)
    )


@pytest.mark.parametrize("name", _NAMES)
def test_every_test_that_is_named_exists(name: str) -> None:
    named = set(_tests((_ROOT / name).read_text()))
    assert [pair for pair in sorted(named) if not _defined(pair[0])] == []
    assert [pair for pair in sorted(named) if pair[1] and pair[1] not in _defined(pair[0])] == []


def test_every_guarantee_has_tests_that_show_it() -> None:
    shown = {cells[0]: list(_tests(cells[2])) for cells in _rows(_section(_ARCHITECTURE, "Guarantees"))}
    assert list(shown) == _GUARANTEES
    assert [guarantee for guarantee, tests in shown.items() if not any(test for _, test in tests)] == []


def test_the_table_of_packages_is_that_of_the_import_rules() -> None:
    rules = configparser.ConfigParser()
    rules.read(_ROOT / ".importlinter")
    layers = rules["importlinter:contract:layers"]["layers"].replace("|", "\n").split()
    described = [cells[0].split("`")[1] for cells in _rows(_section(_ARCHITECTURE, "The table"))]
    assert sorted(described) == sorted(set(layers) - {"__main__"})


def test_what_the_way_of_an_alert_names_is_in_the_code() -> None:
    text = _section(_ARCHITECTURE, "The way of an alert")
    named = re.findall(r"`((?:web|intake|engine|state|kube)\.[a-zA-Z_.]+)`", text)
    assert len(named) > 10
    for name in named:
        # A method may be named by its class; attributes of instances are not found, and none is named.
        pkgutil.resolve_name(f"gateway.{name}")


@pytest.mark.parametrize("name", _NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    document = _ROOT / name
    broken = []
    for link in _LINK.findall(_CODE.sub("", document.read_text())):
        if "://" in link:
            continue
        where, _, heading = link.partition("#")
        target = (document.parent / where).resolve() if where else document
        if not target.exists() or (heading and heading not in _anchors(target)):
            broken.append(link)
    assert broken == []


def _anchors(document: Path) -> set[str]:
    """The headings of a document as links name them."""
    text = _CODE.sub("", document.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
