"""The report as JUnit XML, which CI systems show: a suite for each scenario, a case for each criterion."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from chaos.reports import summary
from chaos.verdicts import Verdict


def render(verdicts: Sequence[Verdict]) -> str:
    """The whole document."""
    root = Element("testsuites", name="rehearsals")
    for verdict in verdicts:
        _suite(root, verdict)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(root: Element, verdict: Verdict) -> None:
    suite = SubElement(
        root,
        "testsuite",
        name=verdict.scenario,
        tests=str(len(verdict.criteria) + bool(verdict.error) + bool(verdict.not_run)),
        failures=str(len(verdict.failures)),
        errors=str(int(bool(verdict.error))),
        skipped=str(int(bool(verdict.not_run))),
        time=f"{verdict.seconds:.1f}",
    )
    for criterion in verdict.criteria:
        case = SubElement(suite, "testcase", classname=verdict.scenario, name=criterion.what)
        if not criterion.passed:
            message = f"{summary.figure(criterion)} instead of {summary.limit(criterion)}"
            SubElement(case, "failure", message=message)
    if verdict.error:
        case = SubElement(suite, "testcase", classname=verdict.scenario, name="is played to its end")
        SubElement(case, "error", message=verdict.error)
    if verdict.not_run:
        case = SubElement(suite, "testcase", classname=verdict.scenario, name="is played")
        SubElement(case, "skipped", message=verdict.not_run)
