"""The command line as a whole: help that is quick and complete, and errors that become messages and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import _COMMANDS, build_parser, main
from gateway.cli.output import Exit

COMMANDS = [module.__name__.rpartition(".")[2].replace("_", "-") for module in _COMMANDS]
SLOW = ("aiohttp", "kubernetes_asyncio", "msgspec", "pydantic", "redis", "rich", "uvloop", "yaml")


def test_help_lists_every_command_and_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n    {command}" in shown
    for code in Exit:
        assert f"\n  {code.value} " in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"examples:\n  gateway {command}" in capsys.readouterr().out


def test_building_the_parser_imports_nothing_slow() -> None:
    code = f"import sys, gateway.cli as c; c.build_parser(); print([m for m in {SLOW!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_says_what_runs_it() -> None:
    parser = build_parser()
    for command in ("serve", "dev", "demo", "send", "dead-letters"):
        assert callable(parser.parse_args([command]).run)


@pytest.mark.parametrize(
    "words", [[], ["no-such"], ["send", "--rate", "fast"], ["audit"], ["config", "edit"]]
)
def test_a_bad_command_line_is_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == Exit.USAGE
    assert "usage: gateway" in capsys.readouterr().err


def test_a_bad_environment_variable_names_its_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWAY_URL", "localhost")
    with pytest.raises(SystemExit):
        main(["send"])
    assert "--url" in capsys.readouterr().err


def test_faults_of_the_configuration_are_listed_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--set", "server.port=x", "--set", "no.such=1"]) == Exit.USAGE
    shown = capsys.readouterr().err
    assert "server.port" in shown
    assert "no" in shown
    assert "Traceback" not in shown


def test_config_check_tells_scripts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("storm: {threshold: 4}\n")
    assert main(["config", "check", "--config", str(file), "-o", "json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert main(["config", "check", "-o", "json", "--set", "server.port=x"]) == Exit.USAGE
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert len(told["faults"]) == 1


def test_config_check_of_a_sound_file_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check"]) == Exit.OK
    assert capsys.readouterr().out == "The configuration can be used.\n"


def test_config_show_prints_what_is_in_force_without_passwords(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "config",
        "show",
        "--set",
        "redis.url=redis://:secret@localhost:6379/0",
        "--set",
        "storm.hold=5m",
    ]
    assert main(words) == Exit.OK
    shown = capsys.readouterr().out
    assert "hold: 5m" in shown
    assert "secret" not in shown
    assert main([*words, "-o", "json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["storm"]["hold"] == "5m"


def test_config_schema_is_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == Exit.OK
    assert "properties" in json.loads(capsys.readouterr().out)


def test_a_file_that_is_not_there_is_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--config", str(tmp_path / "none.yaml")]) == Exit.USAGE
    assert "none.yaml" in capsys.readouterr().err


def test_a_redis_that_is_not_there_is_code_3(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["dead-letters", "--set", f"redis.url=unix://{tmp_path}/no.sock"]) == Exit.UNREACHABLE
    assert "redis.url" in capsys.readouterr().err


def test_fingerprints_belong_to_retry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", "list", "abc"]) == Exit.USAGE
    assert "retry" in capsys.readouterr().err


def test_a_reader_that_has_enough_is_no_error() -> None:
    code = "import sys; from gateway.cli import main; sys.exit(main(['config', 'schema']))"
    command = f'{sys.executable} -c "{code}" | head -n 1'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "{\n"
    assert done.stderr == ""
