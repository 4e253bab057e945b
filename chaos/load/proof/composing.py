"""From a campaign to its report, before that has a form: every target, a summary of them, and all sections."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.load.proof import access, cost, growth, latency, reliability, setting, throughput
from chaos.load.proof.answers import accepted, alerts, due
from chaos.load.proof.document import Document, Tile
from chaos.load.proof.figures import Figure, Unit
from chaos.load.proof.folder import Campaign
from chaos.load.proof.verdict import Outcome, Result, Verdict


def compose(campaign: Campaign) -> Document:
    """The whole report. Raises `Unreadable` for a part that is spoiled."""
    results = [part for made in (latency, reliability, access, growth) for part in made.results(campaign)]
    verdict = Verdict(results, campaign.facts.findings)
    return Document(
        facts=campaign.facts,
        headline=_headline(verdict),
        summary=_summary(campaign, verdict),
        tiles=_tiles(campaign, results),
        verdict=verdict,
        sections=[
            made.section(campaign)
            for made in (latency, throughput, reliability, access, cost, growth, setting)
        ],
    )


def _headline(verdict: Verdict) -> str:
    met, missed = verdict.of(Outcome.MET), verdict.of(Outcome.MISSED)
    judged = len(met) + len(missed)
    if not judged:
        return "No target was measured"
    if missed:
        return f"{len(missed)} of {judged} measured targets {'is' if len(missed) == 1 else 'are'} missed"
    if verdict.findings:
        return f"{judged} targets are met, but the campaign itself failed"
    return (
        f"All {judged} targets that this campaign measures are met"
        if verdict.passed
        else (f"{judged} targets are met, but the audit is missing")
    )


def _summary(campaign: Campaign, verdict: Verdict) -> list[str]:
    found = []
    if campaign.webhooks:
        taken = [tries[-1] for tries in campaign.webhooks if due(tries[-1]) and accepted(tries[-1])]
        rate = Figure(len(campaign.webhooks) / campaign.seconds if campaign.seconds else None, Unit.RATE)
        found.append(
            f"{len(campaign.webhooks):,} webhooks in {Figure(campaign.seconds, Unit.SECONDS)} ({rate} on average); "
            f"{alerts(taken):,} alerts in accepted webhooks."
        )
    part = throughput.kept_up(campaign)
    if part is not None and part < throughput.BEHIND:
        found.append(f"The sender fell behind: {throughput.told(part)}.")
    found += [f"Found wrong: {one}." for one in verdict.findings]
    found += [
        f"Missed: {one.title}: {one.measured} instead of {one.bound}." for one in verdict.of(Outcome.MISSED)
    ]
    left = len(verdict.of(Outcome.NOT_MEASURED))
    if left:
        found.append(
            f"{left} {'target is' if left == 1 else 'targets are'} not measured here; the table says why and where."
        )
    if campaign.disturbed:
        found.append(
            "Faults were injected, so that limits for times without faults are shown and not judged."
        )
    return found


def _tiles(campaign: Campaign, results: Sequence[Result]) -> list[Tile]:
    by_key = {one.key: one for one in results}
    writes = cost.per_alert(campaign, cost.kubernetes(campaign, cost.WRITES))
    return [
        *(
            Tile(label, by_key[key].measured, by_key[key].outcome)
            for key, label in (
                ("overhead_p95", "overhead, p95"),
                ("success_first", "first answers as due"),
                ("audit", "lost or counted twice"),
                ("refused", "unauthorised refused"),
                ("dedup_without_api", "duplicates without the API"),
            )
        ),
        Tile("Kubernetes writes an alert", Figure(writes, Unit.EACH)),
    ]
