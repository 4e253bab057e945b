"""A body is a webhook, or a payload error that says what is wrong and where; nothing else ever."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import MalformedBody, PayloadError, UnprocessableBody
from gateway.intake.payload import AlertError, decode, decode_alert

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"alerts", "not JSON"),
        (b'{"alerts":[{"labels":{"alertname":"A"', "not JSON"),
        (b'{"alerts":[]', "not JSON"),
        (b'{"alerts":[]} {}', "not JSON"),
        (b'{"alerts":5, nonsense', "not JSON"),
        (b'{"alerts":[],"x":NaN}', "not JSON"),
        (b'{"alerts":[],"x":"\x00"}', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"alerts":[{"labels":{"alertname":"\xff"}}]}', "not UTF-8: invalid start byte at byte 35"),
        (b'{"alerts":[{"labels":{"alertname":"\xed\xa0\x80"}}]}', "not UTF-8"),
        (b"[]", "no JSON object"),
        (b' [{"alerts":[]}]', "no JSON object"),
        (b"null", "no JSON object"),
        (b"5", "no JSON object"),
        (b'"alerts"', "no JSON object"),
        (b'{"alerts":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nests too deeply"),
        (b'{"alerts":5,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "recursion"),
    ],
)
def test_what_is_no_json_object_is_malformed(body: bytes, message: str) -> None:
    with pytest.raises(MalformedBody) as caught:
        decode(body)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "$: Object missing required field `alerts`"),
        ({"alert": []}, "$: Object missing required field `alerts`"),
        ({"alerts": None}, "$.alerts: Expected `array`, got `null`"),
        ({"alerts": {}}, "$.alerts: Expected `array`, got `object`"),
        ({"alerts": "x"}, "$.alerts: Expected `array`, got `str`"),
        ({"alerts": [], "receiver": 5}, "$.receiver: Expected `str | null`, got `int`"),
        ({"alerts": [], "groupLabels": []}, "$.groupLabels: Expected `object | null`, got `array`"),
        ({"alerts": [], "commonLabels": {"a": 5}}, "$.commonLabels[...]: Expected `str`, got `int`"),
        ({"alerts": [], "truncatedAlerts": "3"}, "$.truncatedAlerts: Expected `float`, got `str`"),
        ({"alerts": [], "truncatedAlerts": -1}, "$.truncatedAlerts: Expected `float` >= 0.0"),
    ],
)
def test_an_object_of_the_wrong_shape_is_unprocessable_and_says_where(body: Any, message: str) -> None:
    with pytest.raises(UnprocessableBody) as caught:
        decode(json.dumps(body).encode())
    assert str(caught.value) == message


def test_a_lean_body_is_enough() -> None:
    webhook = decode(b'{"alerts":[{"labels":{"alertname":"A","namespace":"n"}}]}')
    assert webhook.truncatedAlerts == 0
    alert = decode_alert(webhook.alerts[0])
    assert alert.labels == {"alertname": "A", "namespace": "n"}
    assert decode(b'{"alerts":[]}').alerts == []


def test_every_field_of_version_4_is_read_and_unknown_ones_are_ignored() -> None:
    body = {
        "version": "4",
        "groupKey": '{}:{alertname="A"}',
        "truncatedAlerts": 7,
        "status": "firing",
        "receiver": "web\\.hook",
        "groupLabels": {"alertname": "A"},
        "commonLabels": {"alertname": "A"},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "notificationReason": {"new": ["field", 1e999]},
        "alerts": [
            {
                "status": "resolved",
                "labels": {"alertname": "A"},
                "annotations": {"summary": "s"},
                "startsAt": "2026-01-01T00:00:00Z",
                "endsAt": "2026-01-01T00:01:00Z",
                "generatorURL": "http://prometheus",
                "fingerprint": "71add5ca4dff4207",
                "silenceURL": ["unknown"],
            }
        ],
    }
    webhook = decode(json.dumps(body).replace("Infinity", "1e999").encode())
    fields = {name: value for name, value in body.items() if name not in ("alerts", "notificationReason")}
    assert {name: getattr(webhook, name) for name in fields} == fields
    alert = decode_alert(webhook.alerts[0])
    (sent,) = body["alerts"]
    assert {name: getattr(alert, name) for name in sent if name != "silenceURL"} == {
        name: value for name, value in sent.items() if name != "silenceURL"
    }


def test_null_is_as_good_as_nothing() -> None:
    fields = ["version", "groupKey", "status", "receiver", "groupLabels", "commonLabels", "externalURL"]
    webhook = decode(
        json.dumps(
            {"alerts": [{"labels": {"alertname": "A"}, "annotations": None}]} | dict.fromkeys(fields)
        ).encode()
    )
    assert decode_alert(webhook.alerts[0]).annotations is None


@pytest.mark.parametrize(
    ("alert", "message", "place"),
    [
        (5, "Expected `object`, got `int`", ""),
        ("x", "Expected `object`, got `str`", ""),
        (None, "Expected `object`, got `null`", ""),
        ([], "Expected `object`, got `array`", ""),
        ({"labels": []}, "Expected `object | null`, got `array`", ".labels"),
        ({"labels": {"a": "b", "severity": 5}}, "Expected `str`, got `int`", '.labels["severity"]'),
        ({"labels": {"a": "b", 'say "x"': None}}, "Expected `str`, got `null`", '.labels["say \\"x\\""]'),
        ({"annotations": {"summary": {}}}, "Expected `str`, got `object`", '.annotations["summary"]'),
        ({"status": "pending"}, "Invalid enum value 'pending'", ".status"),
        ({"startsAt": 5}, "Expected `str | null`, got `int`", ".startsAt"),
    ],
)
def test_a_bad_alert_says_what_is_wrong_and_where(alert: Any, message: str, place: str) -> None:
    webhook = decode(json.dumps({"alerts": [alert]}).encode())
    with pytest.raises(AlertError) as caught:
        decode_alert(webhook.alerts[0])
    assert (str(caught.value), caught.value.place) == (message, place)


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (rb"\ud800", "�"),
        (rb"\udc00", "�"),
        (rb"\ud800x", "�x"),
        (rb"\ud800\u0041", "�A"),
        (rb"\ud800\ud83d\ude00", "�😀"),
        (rb"\ud83d\ude00", "😀"),
        (rb"\\ud800", r"\ud800"),
        (rb"\\\ud800", "\\�"),
        (rb"\\\\ud800\ud800", "\\\\ud800�"),
        (rb"\u0000", "\0"),
    ],
)
def test_half_a_surrogate_pair_becomes_the_replacement_character(escaped: bytes, text: str) -> None:
    webhook = decode(b'{"alerts":[{"labels":{"alertname":"' + escaped + b'"}}]}')
    assert decode_alert(webhook.alerts[0]).labels == {"alertname": text}


@given(st.binary())
@example(b'{"alerts":[{}]}')
@example(b'{"alerts":[\xf0\x9f\x98\x80]}')
def test_any_bytes_are_a_webhook_or_a_payload_error(body: bytes) -> None:
    try:
        webhook = decode(body)
    except PayloadError:
        return
    assert isinstance(webhook.alerts, list)


@given(JSON | st.fixed_dictionaries({"alerts": JSON | st.lists(JSON)}))
def test_any_json_is_a_webhook_or_a_payload_error_of_the_right_kind(value: Any) -> None:
    text = json.dumps(value)
    try:
        webhook = decode(text.encode())
    except UnprocessableBody as error:
        kind, message = "unprocessable", str(error)
    except MalformedBody as error:
        kind, message = "malformed", str(error)
    else:
        assert len(webhook.alerts) == len(value["alerts"])
        return
    if "NaN" in text or "Infinity" in text:
        return  # Python's own addition to JSON
    assert kind == ("unprocessable" if isinstance(value, dict) else "malformed"), message


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_arrives_as_it_was_sent(text: str) -> None:
    for body in (
        json.dumps({"alerts": [{"labels": {"a": text}}]}).encode(),
        msgspec.json.encode({"alerts": [{"labels": {"a": text}}]}),
    ):
        assert decode_alert(decode(body).alerts[0]).labels == {"a": text}


def test_the_body_of_a_real_alertmanager_is_read_whole(recorded: bytes) -> None:
    webhook = decode(recorded)
    alerts = [decode_alert(raw) for raw in webhook.alerts]
    assert len(alerts) == 50
    assert {(alert.labels or {})["alertname"] for alert in alerts} == {"DiskFull"}
    assert webhook.receiver == r"web\.hook"


@pytest.mark.parametrize("first", ["5", '{"alertname":5}', "null", '{"alertname":"B"}'])
def test_of_a_name_that_is_there_twice_the_last_counts(first: str) -> None:
    webhook = decode(f'{{"alerts":[{{"labels":{first},"labels":{{"alertname":"A"}}}}]}}'.encode())
    assert decode_alert(webhook.alerts[0]).labels == {"alertname": "A"}
