"""The baseline: aiohttp and uvloop, a handler that only decodes a webhook and fingerprints each alert.

    python -m tests.bench.bare PORT

Each alert is decoded at once, into the same types as in the gateway.
"""

from __future__ import annotations

import sys

import msgspec
import uvloop
from aiohttp import web

from gateway.config.loading import load
from gateway.intake.fingerprint import Fingerprinter
from gateway.intake.payload import Alert, decode


def application() -> web.Application:
    """The bare service."""
    settings = load(None, {})
    fingerprinter = Fingerprinter(settings.dedup, settings.storm.group_by)
    alerts = msgspec.json.Decoder(Alert)

    async def handle(request: web.Request) -> web.Response:
        webhook = decode(await request.read())
        for raw in webhook.alerts:
            alert = alerts.decode(raw)
            fingerprinter.identify(alert.labels or {}, alert.annotations or {})
        return web.json_response({"status": "accepted"}, status=202)

    app = web.Application(client_max_size=16 * 2**20)
    app.router.add_post("/v1/webhooks/prometheus", handle)
    return app


def main() -> None:
    uvloop.install()
    web.run_app(application(), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)


if __name__ == "__main__":
    main()
