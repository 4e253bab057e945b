"""The Alertmanager of the rig is real: it sends, remembers what it sent, and reads its configuration again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from chaos.rig.alertmanager import webhook_config
from chaos.rig.asking import Refused
from chaos.rig.waiting import wait_until
from tests.rig.fixtures import StartAlertmanager

ALERT = {"labels": {"alertname": "DiskFull", "namespace": "shop"}, "annotations": {"summary": "full"}}


class Receiver(ThreadingHTTPServer):
    """Takes webhooks and keeps them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def statuses(self) -> list[str]:
        return [webhook["status"] for webhook in self.received]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing on stderr."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_it_sends_an_alert_repeats_it_and_resolves_it(
    start_alertmanager: StartAlertmanager, receiver: Receiver
) -> None:
    alertmanager = start_alertmanager(webhook_config(receiver.url))
    alertmanager.post_alerts([ALERT])
    wait_until(lambda: receiver.statuses().count("firing") >= 2, "the alert and its repetition")
    assert [alert["labels"] for alert in alertmanager.alerts()] == [ALERT["labels"]]
    alertmanager.resolve_alerts([ALERT])
    wait_until(lambda: "resolved" in receiver.statuses(), "the resolution")
    assert receiver.received[0]["alerts"][0]["annotations"] == ALERT["annotations"]


def test_it_remembers_over_a_restart_what_it_has_sent(
    start_alertmanager: StartAlertmanager, receiver: Receiver
) -> None:
    alertmanager = start_alertmanager(webhook_config(receiver.url, repeat_interval="1h"))
    alertmanager.post_alerts([ALERT])
    # It notes what it has sent after the answer, and no turn of a group begins before the last one's end.
    wait_until(lambda: alertmanager.log().count("alerts=[DiskFull") >= 2, "the group's second turn")
    alertmanager.restart()
    turns = alertmanager.log().count("alerts=[DiskFull")
    alertmanager.post_alerts([ALERT, {"labels": {"alertname": "Other"}}])
    # In the first of these turns it would be sent if it were forgotten.
    wait_until(
        lambda: alertmanager.log().count("alerts=[DiskFull") >= turns + 2, "two turns of the old group"
    )
    wait_until(lambda: len(receiver.received) > 1, "the notification of the new group")
    assert [webhook["groupLabels"]["alertname"] for webhook in receiver.received] == ["DiskFull", "Other"]


def test_it_reads_a_new_configuration_and_refuses_a_wrong_one(
    start_alertmanager: StartAlertmanager, receiver: Receiver
) -> None:
    alertmanager = start_alertmanager(webhook_config("http://127.0.0.1:1/nobody"))
    alertmanager.reload(webhook_config(receiver.url))
    alertmanager.post_alerts([ALERT])
    wait_until(receiver.statuses, "a notification at the new address")
    with pytest.raises(Refused, match="unmarshal errors"):
        alertmanager.reload("route: [no, route]")
