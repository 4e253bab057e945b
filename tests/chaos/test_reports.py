"""Reports say what was measured, in every form, and their pictures are readable."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from chaos import reports
from chaos.reports import junit, page, text
from chaos.reports.confidence import upper_bound
from chaos.verdicts import Criterion, Limit, Span, Verdict

LOOK = """
<script>
const problems = [];
for (const svg of document.querySelectorAll('svg')) {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  for (const [name, box] of texts)
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 ||
        box.bottom > frame.bottom + 1) problems.push('outside: ' + name);
  for (let i = 0; i < texts.length; i++)
    for (let j = 0; j < i; j++) {
      const [a, b] = [texts[i][1], texts[j][1]];
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 &&
          Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)
        problems.push('overlap: ' + texts[i][0] + ' / ' + texts[j][0]);
    }
  for (const path of svg.querySelectorAll('path.line')) if (!path.getTotalLength()) problems.push('an empty line');
}
document.title = JSON.stringify([document.querySelectorAll('svg').length, problems]);
</script>
"""
"""Asks the browser whether the texts of the pictures stay apart and within them."""


def verdict(*, passed: bool = True) -> Verdict:
    made = Verdict("redis-master-failure", 1, "The master <fails>", "It is noticed.", full=False)
    made.criteria = [
        Criterion("alerts that were accepted", 60, Limit(at_least=1)),
        Criterion("accepted and lost", 0 if passed else 2, Limit(exactly=0)),
        Criterion("open within", 0.4 if passed else None, Limit(at_most=5), "s"),
    ]
    made.findings = ["one attempt was answered 503"]
    made.spans = [
        Span("baseline", "phase", 0, 5),
        Span("redis-network-partition", "injection", 5, 8),
        Span("redis-latency", "injection", 9, 12),
        Span("redis-resets", "injection", 13, 16),
    ]
    steps = [(float(at), float(at * 3)) for at in range(21)]
    made.series = {
        "received": steps,
        "created": [(at, y / 2) for at, y in steps],
        "deduplicated": [(at, y / 2) for at, y in steps],
        "queue": [(at, y % 7) for at, y in steps],
        "fallback": [(at, 0.0) for at, _ in steps],
        "breaker Redis": [(at, 2.0 if 5 < at < 9 else 0.0) for at, _ in steps],
        "breaker Kubernetes": [(at, 0.0) for at, _ in steps],
    }
    made.seconds = 20.0
    return made


def away() -> Verdict:
    return Verdict(
        "time-skew", 5, "Clocks", "Nothing changes.", full=False, not_run="libfaketime is not here"
    )


def test_a_verdict_comes_back_from_its_json() -> None:
    for one in (verdict(), verdict(passed=False), away()):
        assert Verdict.from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [([verdict()], 0), ([verdict(), verdict(passed=False)], 1), ([away()], 1), ([verdict(), away()], 0)],
    ids=["passed", "one failed", "none played", "one not played"],
)
def test_the_exit_code_is_that_of_what_was_played(verdicts: list[Verdict], code: int) -> None:
    assert reports.exit_code(verdicts) == code


def test_a_scenario_that_breaks_off_has_failed() -> None:
    broken = verdict()
    broken.error = "TimeoutError()"

    assert broken.outcome == "failed"


def test_markdown_and_html_say_what_failed_and_what_was_not_played() -> None:
    for found in (text.render([verdict(passed=False), away()]), page.render([verdict(passed=False), away()])):
        assert "0 of 1 scenarios passed; 1 NOT RUN" in found
        assert "never" in found
        assert "libfaketime is not here" in found
    assert "The master &lt;fails&gt;" in page.render([verdict()])


def test_junit_has_a_case_for_each_criterion_and_the_figure_in_each_failure() -> None:
    root = ET.fromstring(junit.render([verdict(passed=False), away()]))
    failed, skipped = root.findall("testsuite")

    assert (failed.get("tests"), failed.get("failures")) == ("3", "2")
    assert [one.get("message") for one in failed.iter("failure")] == [
        "2 instead of = 0",
        "never instead of ≤ 5 s",
    ]
    assert [one.get("message") for one in skipped.iter("skipped")] == ["libfaketime is not here"]


@pytest.mark.parametrize(
    ("failures", "trials", "bound"), [(0, 60, 0.0487), (0, 3000, 0.000998), (1, 20, 0.2161), (20, 20, 1.0)]
)
def test_the_confidence_is_the_bound_of_clopper_and_pearson(failures: int, trials: int, bound: float) -> None:
    assert upper_bound(failures, trials) == pytest.approx(bound, rel=2e-3)


def test_the_confidence_depends_on_what_was_sent_and_is_not_said_without() -> None:
    assert "below 4.87%" in text.render([verdict()])
    assert "confidence" not in text.render([away()])


def test_a_folder_of_results_becomes_reports_and_one_without_is_refused(tmp_path: Path) -> None:
    with pytest.raises(reports.Unreadable):
        reports.read(tmp_path)
    for number, one in enumerate((verdict(), away())):
        (tmp_path / f"{number}-validation.json").write_text(json.dumps(one.to_json()))

    names = {path.name for path in reports.write(reports.read(tmp_path), tmp_path)}
    assert names == {"report.json", "report.md", "report.html", "report.xml"}


def test_in_a_browser_the_texts_of_the_pictures_stay_apart_and_within(chromium: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(
        page.render([verdict(), away()]).replace("</body>", LOOK + "</body>")
    )
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--dump-dom",
        "--window-size=1000,2000",
    ]
    done = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "report.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = re.search(r"<title>(.*?)</title>", done.stdout)

    assert found is not None
    assert json.loads(found[1]) == [1, []]
