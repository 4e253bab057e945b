"""Looks once at the metrics of gateways that run anywhere, for `collect-metrics.sh`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from chaos import metrics, oracle
from chaos.exposition import Reader
from chaos.sight import Target


class Unreachable(Exception):
    """The metrics of a gateway cannot be had; the message says where and why."""


async def collect(targets: Sequence[Target], log: Path | None) -> dict[str, Any]:
    """One look at all of them; `log` is what a sender wrote, for `alerts_sent`. Raises `Unreachable`."""
    pages = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        for target in targets:
            url = f"{target.metrics_url}/metrics"
            try:
                async with session.get(url) as answer:
                    answer.raise_for_status()
                    pages.append(Reader().read(await answer.text()))
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Unreachable(f"{url}: {error!r}") from error
    return metrics.of_pages(pages, sent=None if log is None else _sent(log))


def _sent(log: Path) -> int:
    """Alerts of all deliveries, each counted once however often it was sent again."""
    return len({(line["delivery"], line["index"]) for line in oracle.read_log(log)})
