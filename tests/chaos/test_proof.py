"""The report of a load campaign says what its folder tells, judges each target by it, and makes up nothing."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.load import proof
from chaos.load.mix import REFUSED
from chaos.load.proof import breakers
from chaos.load.proof.answers import due, retryable
from chaos.load.proof.figures import Figure, Unit
from chaos.load.proof.folder import Attempt, Campaign, Injection
from chaos.load.proof.spread import Spread
from chaos.load.retrying import is_final
from tests.chaos.campaigns import Made
from tests.chaos.test_reports import LOOK

ROOT = Path(__file__).parents[2]
GOOD = Made()
FAULTY = replace(
    GOOD,
    name="chaos-window",
    injections=[("redis-errors-20", 20, 40)],
    opened=[("redis", 22.5, 41.5)],
    changes=4,
    refused=0.05,
)
SOAK = replace(GOOD, name="soak", seconds=2400.0, rate=2.0, every=5.0)


def targets(made: Made, folder: Path) -> dict[str, dict[str, Any]]:
    """Key → the target in the report's JSON."""
    proof.write(made.write(folder))
    report = json.loads((folder / "report.json").read_text())
    return {one["key"]: one for one in report["targets"]}


# --- each target, met and missed


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("overhead_p50", GOOD, replace(GOOD, quick=16.0)),
        ("overhead_p95", GOOD, replace(GOOD, quick=25.0)),
        ("overhead_p99", GOOD, replace(GOOD, quick=30.0)),
        ("duplicate_gain", GOOD, replace(GOOD, fresh=4.0)),
        ("success_first", GOOD, replace(GOOD, refused=0.02)),
        ("success_last", replace(GOOD, refused=0.02), replace(GOOD, refused=0.02, healed=0.2)),
        ("fast_fail_p99", FAULTY, replace(FAULTY, refusal=250.0)),
        ("healed", FAULTY, replace(FAULTY, healed=0.5)),
        ("flapping", GOOD, replace(GOOD, changes=2)),
        ("flapping", FAULTY, replace(FAULTY, opened=[("redis", 70.0, 75.0)])),
        ("flapping", FAULTY, replace(FAULTY, opened=[("k8s_api", 25.0, 30.0)])),
        ("audit", GOOD, replace(GOOD, lost=1)),
        ("dedup_without_api", GOOD, replace(GOOD, fallback=100)),
        ("refused", GOOD, replace(GOOD, let_in=1)),
        ("mistaken", GOOD, replace(GOOD, mistaken=1)),
        ("denied", GOOD, replace(GOOD, through=1)),
        ("growth_memory", SOAK, replace(SOAK, growth={"memory": 0.1})),
        ("growth_tasks", SOAK, replace(SOAK, growth={"tasks": 0.2})),
        ("growth_connections", SOAK, replace(SOAK, growth={"connections": 0.2})),
        ("growth_keys", SOAK, replace(SOAK, growth={"keys": 0.1})),
    ],
)
def test_a_target_is_met_and_missed_by_what_the_folder_tells(
    key: str, good: Made, bad: Made, tmp_path: Path
) -> None:
    met, missed = targets(good, tmp_path / "good")[key], targets(bad, tmp_path / "bad")[key]

    assert (met["outcome"], missed["outcome"]) == ("met", "missed")
    assert met["measured"] != missed["measured"]


def test_the_figures_are_those_that_the_folder_was_made_with(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    found = targets(replace(GOOD, refused=0.1, let_in=3, mistaken=2, lost=4), folder)
    lines = [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]
    quick = sorted(one["ms"] for one in lines if one["status"] < 500 and one["outcome"] != "created")
    firsts = [one for one in lines if one["attempt"] == 1]
    tampered = sum(one["kind"] == "tampered" for one in lines)

    assert found["overhead_p95"]["measured"] == quick[math.ceil(0.95 * len(quick)) - 1]
    due = {"tampered": (401,), "denied": (403,)}
    is_due = {one["id"]: one["status"] in due.get(one["kind"], (200, 201, 202)) for one in lines}
    wrong = sum(one["status"] not in due.get(one["kind"], (200, 201, 202)) for one in firsts)
    tried_again = [one["id"] for one in firsts if one["status"] == 503]
    assert found["success_first"]["measured"] == pytest.approx(1 - wrong / len(firsts))
    assert found["healed"]["measured"] == pytest.approx(
        sum(is_due[one] for one in tried_again) / len(tried_again)
    )
    assert found["refused"]["measured"] == pytest.approx(1 - 3 / tampered)
    assert (found["mistaken"]["measured"], found["denied"]["measured"]) == (2, 0)
    assert found["audit"]["measured"] == 4
    assert found["new_p99"]["outcome"] == "shown"


def test_what_an_alert_costs_is_what_was_used_over_what_was_received(tmp_path: Path) -> None:
    made = replace(GOOD, alerts=4, writes=1000, commands=6, cores=0.3, seconds=200.0)
    proof.write(made.write(tmp_path))
    cost = json.loads((tmp_path / "report.json").read_text())["sections"]["cost"]
    calls = {one["calls"]: (one["in all"], one["an alert"]) for one in cost["kubernetes"]}
    spent = {
        one["of"]: (one["in all"], one["cores on average"], one["an alert"]) for one in cost["processor"]
    }
    lines = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    received = 4 * sum(one["kind"] != "tampered" for one in lines)

    assert calls["writes"] == (pytest.approx(1000), pytest.approx(1000 / received))
    assert calls["… create"] == (pytest.approx(600), pytest.approx(600 / received))
    assert calls["reads"] == (pytest.approx(4), pytest.approx(4 / received))
    assert calls["commands of Redis"] == (pytest.approx(6 * 4000), pytest.approx(6 * 4000 / received))
    assert spent["gateway"] == (pytest.approx(60), pytest.approx(0.3), pytest.approx(60e6 / received))
    assert spent["kube-apiserver"][1] == pytest.approx(0.6)


def test_phases_are_told_apart_and_held_against_the_plan(tmp_path: Path) -> None:
    proof.write(replace(GOOD, planned=1.25).write(tmp_path))
    phases = json.loads((tmp_path / "report.json").read_text())["sections"]["throughput"]["by_phase"]

    assert [(one["phase"], one["planned"], one["sent"]) for one in phases] == [
        ("ramp", 1250, 1000),
        ("hold", 1250, 1000),
    ]
    assert {one["of the plan, in time"] for one in phases} == {0.8}
    assert {one["webhooks a second"] for one in phases} == {20.0}


def test_a_campaign_passes_when_nothing_is_missed_and_its_audit_is_exact(tmp_path: Path) -> None:
    assert proof.write(GOOD.write(tmp_path / "good")).passed
    assert not proof.write(replace(GOOD, quick=100.0).write(tmp_path / "slow")).passed
    assert not proof.write(replace(GOOD, audited=False).write(tmp_path / "unaudited")).passed


def test_what_the_campaign_found_wrong_fails_its_report_and_is_in_every_form_of_it(tmp_path: Path) -> None:
    findings = ["3 deliveries were given up", "gateway0 fell"]
    verdict = proof.write(replace(GOOD, findings=findings).write(tmp_path))

    assert not verdict.passed
    assert verdict.lines[:2] == [f"FAIL {one}" for one in findings]
    text, page = (tmp_path / "report.md").read_text(), (tmp_path / "report.html").read_text()
    for one in findings:
        assert f"Found wrong: {one}." in text
        assert f"Found wrong: {one}." in page
    assert 'class="banner missed"' in page
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["passed"], report["findings"]) == (False, findings)
    assert "the campaign itself failed" in report["headline"]


def test_a_folder_of_before_findings_were_noted_has_none(tmp_path: Path) -> None:
    assert proof.write(replace(GOOD, findings=None).write(tmp_path)).passed


def test_an_alert_in_an_accepted_webhook_is_not_called_accepted(tmp_path: Path) -> None:
    """Resolved ones are in there; what the audit calls accepted are occurrences."""
    proof.write(GOOD.write(tmp_path))
    text = (tmp_path / "report.md").read_text()

    assert "alerts in accepted webhooks." in text
    assert "| alerts in accepted webhooks |" in text
    assert re.search(r"alerts accepted(?!, at (least|most))", text) is None


@pytest.mark.parametrize(
    ("status", "again"), [(0, True), (500, True), (503, True), (429, False), (401, False)]
)
def test_an_answer_asks_to_be_tried_again_where_the_sender_does_so(status: int, *, again: bool) -> None:
    one = Attempt(at=0.0, kind="new", id="w", status=status, ms=1.0)

    assert (retryable(one), is_final(status)) == (again, not again)


@pytest.mark.parametrize("kind", [*REFUSED, "new", "a kind of tomorrow"])
def test_what_is_due_is_the_refusal_of_the_kind_or_else_2xx(kind: str) -> None:
    statuses = {
        status
        for status in (0, 201, 202, 401, 403, 404, 503)
        if due(Attempt(at=0.0, kind=kind, id="w", status=status, ms=1.0))
    }

    assert statuses == ({REFUSED[kind]} if kind in REFUSED else {201, 202})


def test_with_injections_limits_for_times_without_faults_are_shown_and_not_judged(tmp_path: Path) -> None:
    found = targets(replace(FAULTY, quick=100.0, queries=200), tmp_path)

    for key in ("overhead_p50", "overhead_p99", "success_first", "success_last", "dedup_without_api"):
        assert found[key]["outcome"] == "shown"
        assert found[key]["measured"] is not None
        assert "faults were injected" in found[key]["note"]


# --- what is missing


@pytest.mark.parametrize(
    ("file", "keys"),
    [
        (
            "requests.jsonl",
            ("overhead_p50", "duplicate_gain", "success_first", "healed", "refused", "denied"),
        ),
        ("samples.jsonl", ("fast_fail_p99", "growth_memory", "growth_keys")),
        ("after-0.prom", ("flapping", "dedup_without_api")),
        ("before-0.prom", ("flapping", "dedup_without_api")),
        ("audit.json", ("audit",)),
    ],
)
def test_what_is_missing_is_said_and_never_made_up(file: str, keys: tuple[str, ...], tmp_path: Path) -> None:
    found = targets(replace(SOAK, without=(file,)), tmp_path)

    for key in keys:
        assert (found[key]["outcome"], found[key]["measured"]) == ("not measured", None)
        assert "missing" in found[key]["note"]


@pytest.mark.parametrize(
    ("made", "key", "why", "by"),
    [
        (GOOD, "fast_fail_p99", "no breaker was seen open", "chaos-window"),
        (GOOD, "healed", "no webhook's first answer", "chaos-window"),
        (GOOD, "growth_memory", "not the same for long", "soak"),
        (replace(SOAK, seconds=1200.0), "growth_memory", "too short", "soak"),
        (replace(GOOD, mix={"duplicate": 1}), "duplicate_gain", "too few", "spike"),
        (replace(GOOD, mix={"duplicate": 1}), "refused", "no webhook with false credentials", "whole mix"),
        (replace(GOOD, rate=1.0), "overhead_p99", "too few", "baseline"),
        (replace(GOOD, audit_exit=2), "audit", "exit code 2", "every campaign"),
    ],
)
def test_a_campaign_that_cannot_tell_says_why_and_which_one_can(
    made: Made, key: str, why: str, by: str, tmp_path: Path
) -> None:
    found = targets(made, tmp_path)[key]

    assert (found["outcome"], found["measured"]) == ("not measured", None)
    assert why in found["note"]
    assert by in found["note"].partition("measured by")[2]


def test_a_report_is_made_of_the_facts_alone_and_says_that_nothing_was_measured(tmp_path: Path) -> None:
    files = ("requests.jsonl", "samples.jsonl", "before-0.prom", "audit.json")
    verdict = proof.write(replace(GOOD, without=files).write(tmp_path))

    assert not verdict.passed
    assert {one.outcome.value for one in verdict.results} == {"not measured"}
    assert "No target was measured" in (tmp_path / "report.md").read_text()


def test_a_folder_that_is_none_and_a_spoiled_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(proof.Unreadable, match="no campaign"):
        proof.write(tmp_path)
    folder = GOOD.write(tmp_path / "one")
    with (folder / "requests.jsonl").open("a") as file:
        file.write('{"at": "then"}\n')
    with pytest.raises(proof.Unreadable, match=r"requests.jsonl, line 2001"):
        proof.write(folder)


# --- nothing in it is fixed


def leaves(found: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of all that is measured."""
    if isinstance(found, dict):
        for key, value in found.items():
            if key not in ("limit", "settings"):
                yield from leaves(value, f"{path}/{key}")
    elif isinstance(found, list):
        for number, value in enumerate(found):
            yield from leaves(value, f"{path}/{number}")
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield path, found


OTHER = replace(
    FAULTY,
    seconds=131.0,
    rate=31.0,
    seed=8,
    scale=0.5,
    mix={"new": 30, "duplicate": 25, "storm": 15, "resolved": 12, "denied": 9, "tampered": 9},
    alerts=3,
    quick=7.0,
    fresh=33.0,
    refused=0.11,
    healed=0.6,
    refusal=9.0,
    let_in=9,
    mistaken=8,
    through=7,
    odd=(0, 202, 400, 401, 403),
    gateways=2,
    planned=1.01,
    injections=[("redis-errors-20", 25, 55), ("k8s-429", 60, 71)],
    opened=[("redis", 27, 58), ("k8s_api", 62, 70), ("redis", 100, 101), ("redis", 103, 105)],
    changes=9,
    queries=20,
    fallback=5,
    lost=2,
    memory=133e6,
    writes=1900,
    commands=13,
    cores=0.35,
    shift=9,
)


def test_every_figure_changes_with_the_data(tmp_path: Path) -> None:
    one, other = (
        json.loads((folder / "report.json").read_text())
        for folder in (tmp_path / "one", tmp_path / "other")
        if proof.write((FAULTY if folder.name == "one" else OTHER).write(folder))
    )
    before, after = dict(leaves(one)), dict(leaves(other))
    same = [path for path in before.keys() & after.keys() if before[path] == after[path]]

    assert len(before) > 150
    assert before.keys() <= after.keys()
    assert sorted(same) == []


def test_markdown_and_page_show_every_target_with_its_figure_and_limit(tmp_path: Path) -> None:
    verdict = proof.write(OTHER.write(tmp_path))
    text, page = (tmp_path / "report.md").read_text(), (tmp_path / "report.html").read_text()

    for one in verdict.results:
        assert f"| {one.measured} | {one.bound or ''} |" in text
        assert f'">{one.measured}</td>'.replace("<0", "&lt;0").replace("> 9", "&gt; 9") in page
    for picture in ("kinds", "latency", "throughput", "reliability", "cost", "growth"):
        assert f"({picture}.svg)" in text
        assert (tmp_path / f"{picture}.svg").read_text().startswith("<svg viewBox")
    assert page.count("<svg") == 6
    assert "http://" not in re.sub(r"http://(127\.0\.0\.1|www\.w3\.org)", "", page)


def test_slopes_of_a_load_that_was_not_steady_for_long_are_not_shown(tmp_path: Path) -> None:
    rows = {}
    for made in (SOAK, replace(SOAK, seconds=1200.0), GOOD):
        proof.write(made.write(tmp_path / f"{made.name}-{made.seconds}"))
        report = json.loads((tmp_path / f"{made.name}-{made.seconds}" / "report.json").read_text())
        rows[made.seconds] = [one["an hour"] for one in report["sections"]["growth"]["resources"]]

    assert None not in rows[2400.0]
    assert set(rows[1200.0]) == set(rows[100.0]) == {None}


@pytest.mark.parametrize(
    ("made", "part"), [(replace(GOOD, planned=1.3), "76.92 %"), (replace(GOOD, late=0.05), "95.00 %")]
)
def test_where_the_sender_fell_behind_no_speed_is_judged(made: Made, part: str, tmp_path: Path) -> None:
    """Every turn is sent, however late: what came late was no part of the load that was planned."""
    found = targets(made, tmp_path)

    said = f"he sender fell behind: {part} of the plan was sent within 1 s of when it was due"
    assert f"T{said}." in (tmp_path / "report.md").read_text()
    for one in found.values():
        assert (said in one["note"]) == (one["group"] == "speed")
        if one["group"] == "speed":
            assert (one["outcome"], one["measured"]) == ("not measured", None)


def test_a_few_late_webhooks_are_no_reason_to_judge_nothing(tmp_path: Path) -> None:
    assert targets(replace(GOOD, late=0.01), tmp_path)["overhead_p50"]["outcome"] == "met"


# --- when breakers open


def test_openings_are_found_between_samples_by_the_recoveries_that_are_counted(tmp_path: Path) -> None:
    made = replace(FAULTY, opened=[("redis", 22.5, 41.5), ("k8s_api", 50.2, 50.6), ("redis", 90.5, 1000.0)])
    found = breakers.openings(Campaign(made.write(tmp_path)))

    began = [(one.component, round(one.at - 1_800_000_000)) for one in found]
    assert began == [("redis", 23), ("k8s_api", 51), ("redis", 91)]


def aimed(*faults: tuple[str, int]) -> Injection:
    """From 100 to 140."""
    detail = {"faults": [{"target": target, "mode": "error", "pct": pct} for target, pct in faults]}
    return Injection("errors", 100, 140, detail)


@given(st.lists(st.floats(0, 300), max_size=30))
def test_a_fault_that_all_calls_meet_explains_one_opening_and_one_that_some_meet_every_one(
    moments: list[float],
) -> None:
    found = [breakers.Opening(0, "redis", at, at + 1) for at in sorted(moments)]
    near = [one for one in found if 99 <= one.at <= 140 + breakers.SETTLING]

    assert breakers.unexplained(found, [aimed(("redis", 20))]) == [one for one in found if one not in near]
    assert len(breakers.unexplained(found, [aimed(("redis", 100))])) == len(found) - bool(near)
    assert len(breakers.unexplained(found, [Injection("unknown", 100, 140)])) == len(found) - bool(near)
    assert breakers.unexplained(found, [aimed(("kubernetes", 20), ("webhook", 100))]) == found
    assert breakers.unexplained(found, []) == found


def test_each_gateway_and_each_breaker_may_open_for_the_same_injection() -> None:
    found = [breakers.Opening(gateway, name, 110, 112) for gateway in (0, 1) for name in breakers.COMPONENTS]
    both = aimed(("redis", 100), ("kubernetes", 100))

    assert breakers.unexplained(found, [both]) == []
    assert len(breakers.unexplained(found * 2, [both])) == 4
    assert breakers.within([*found, found[0]], [both]) == (2, "errors")
    assert breakers.within([], [both]) == (0, "")


# --- figures


@given(st.lists(st.floats(0, 1e4), min_size=100, max_size=300))
def test_a_quantile_is_a_value_that_was_measured_and_so_many_are_not_above_it(values: list[float]) -> None:
    for share in (0.5, 0.95, 0.99):
        found = Spread.of(values).quantile(share)
        assert found in values
        assert sum(value <= found for value in values) >= share * len(values) - 1e-6
        assert sum(value < found for value in values) < share * len(values) + 1e-6


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (3.14159, Unit.MILLISECONDS, "3.14 ms"),
        (1234.5, Unit.MILLISECONDS, "1.23 s"),
        (1.0, Unit.SHARE, "100 %"),
        (0.99999, Unit.SHARE, "> 99.99 %"),
        (0.00001, Unit.SHARE, "< 0.01 %"),
        (0.995, Unit.SHARE, "99.50 %"),
        (123456789, Unit.BYTES, "118 MiB"),
        (7265, Unit.SECONDS, "2 h 1 min"),
        (390, Unit.SECONDS, "6 min 30 s"),
        (0.0093, Unit.EACH, "0.0093"),
        (12345, Unit.COUNT, "12,345"),
        (None, Unit.COUNT, "–"),
    ],
)
def test_figures_are_written_with_their_units(value: float | None, unit: Unit, text: str) -> None:
    assert str(Figure(value, unit)) == text


# --- how it is called, and how it looks


def test_the_command_tells_each_target_and_ends_with_the_verdict(tmp_path: Path) -> None:
    good, bad = GOOD.write(tmp_path / "good"), replace(GOOD, lost=2).write(tmp_path / "bad")

    def run(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "chaos.load.proof", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    done = run(good, "--output", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "✓ gateway overhead, p95: " in done.stdout
    assert (tmp_path / "out" / "report.html").exists()
    done = run(good, bad)
    assert done.returncode == 1
    assert "✗ alerts that the audit finds lost or counted twice: 2 (= 0)" in done.stdout
    assert run(tmp_path).returncode == 2
    fell = replace(GOOD, findings=["gateway0 fell"]).write(tmp_path / "fell")
    done = run(fell)
    assert (done.returncode, "FAIL gateway0 fell" in done.stdout) == (1, True)


def test_in_a_browser_the_texts_of_the_pictures_stay_apart_and_within(chromium: Path, tmp_path: Path) -> None:
    folder = replace(
        OTHER, injections=[(f"redis-errors-{number}0", number * 12, number * 12 + 9) for number in range(9)]
    ).write(tmp_path / "one")
    proof.write(folder)
    page = (folder / "report.html").read_text()
    (folder / "report.html").write_text(page.replace("</body>", LOOK + "</body>"))
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        "--window-size=1100,2000",
    ]
    done = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", (folder / "report.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r"<title>(.*?)</title>", done.stdout)

    assert found is not None
    assert json.loads(found[1]) == [6, []]
