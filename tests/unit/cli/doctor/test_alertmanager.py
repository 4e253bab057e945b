"""Every way in which an Alertmanager's configuration loses alerts, or sends them twice, is told by its receiver."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli.doctor.alertmanager import examine
from gateway.config.settings import Settings
from gateway.resilience.diagnosis import Diagnosis, Grade

EXAMPLE = Path(__file__).parents[4] / "deploy" / "examples" / "alertmanager.yaml"
SECRET = "hunter2"
CREDENTIALS: dict[str, dict[str, Any]] = {
    "bearer": {"authorization": {"credentials": SECRET}},
    "basic": {"basic_auth": {"username": "me", "password_file": "/p"}},
    "jwt": {"oauth2": {"client_id": "me", "client_secret": SECRET, "token_url": "https://issuer/token"}},
    "tokenreview": {"authorization": {"type": "Bearer", "credentials_file": "/token"}},
    "mtls": {"tls_config": {"cert_file": "/c", "key_file": "/k"}},
}


def settings(mode: str = "bearer", **sections: Any) -> Settings:
    return Settings.model_validate({"auth": {"mode": mode}, **sections})


class File:
    """An Alertmanager's configuration, of which a test changes a part."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.whole = copy.deepcopy(yaml.safe_load(EXAMPLE.read_text()))
        self.route: dict[str, Any] = self.whole["route"]
        self.receiver: dict[str, Any] = self.whole["receivers"][0]
        self.webhook: dict[str, Any] = self.receiver["webhook_configs"][0]
        self.http: dict[str, Any] = self.webhook["http_config"]

    def examined(self, gateway: Settings | None = None) -> dict[str, Diagnosis]:
        self._path.write_text(yaml.safe_dump(self.whole))
        found = examine(self._path, gateway or settings())
        assert all(bool(one.remedy) is (one.grade is not Grade.OK) for one in found)
        assert SECRET not in repr(found)
        return {one.check: one for one in found}

    def bad(self, gateway: Settings | None = None) -> dict[str, str]:
        found = self.examined(gateway)
        return {check: one.grade.value for check, one in found.items() if one.grade is not Grade.OK}


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "alertmanager.yml")


def test_the_shipped_example_is_as_it_should_be(file: File) -> None:
    found = file.examined()
    assert file.bad() == {}
    wanted = ["receivers", "redirects", "max-alerts", "resolved", "authorization", "timeout", "times"]
    assert list(found) == wanted
    assert found["redirects"].where == "receiver gateway"


def test_redirects_are_followed_unless_somebody_says_otherwise(file: File) -> None:
    del file.http["follow_redirects"]
    assert file.bad() == {"redirects": "warning"}
    file.http["follow_redirects"] = True
    assert file.bad() == {"redirects": "warning"}


def test_the_client_settings_for_all_receivers_hold_where_a_webhook_has_none(file: File) -> None:
    file.whole["global"] = {"http_config": file.webhook.pop("http_config")}
    assert file.bad() == {}
    file.webhook["http_config"] = {}
    assert file.bad() == {"redirects": "warning", "authorization": "wrong"}


def test_a_limit_of_alerts_loses_them(file: File) -> None:
    file.webhook["max_alerts"] = 50
    assert file.bad() == {"max-alerts": "wrong"}
    del file.webhook["max_alerts"]
    assert file.bad() == {}


def test_what_is_over_has_to_be_told(file: File) -> None:
    file.webhook["send_resolved"] = False
    assert file.bad() == {"resolved": "warning"}
    del file.webhook["send_resolved"]
    assert file.bad() == {}


@pytest.mark.parametrize("mode", CREDENTIALS)
def test_each_mode_of_authentication_wants_its_own_credentials(file: File, mode: str) -> None:
    fitting = {
        "bearer": {"bearer", "tokenreview"},
        "jwt": {"bearer", "jwt", "tokenreview"},
        "tokenreview": {"bearer", "jwt", "tokenreview"},
    }
    for shown, credentials in CREDENTIALS.items():
        file.webhook["http_config"] = {"follow_redirects": False} | credentials
        expected = {} if shown in fitting.get(mode, {mode}) else {"authorization": "wrong"}
        assert file.bad(settings(mode)) == expected, shown
    file.webhook["http_config"] = {"follow_redirects": False}
    assert file.bad(settings(mode)) == {"authorization": "wrong"}
    assert file.bad(settings("none")) == {}


def test_any_one_of_several_modes_will_do(file: File) -> None:
    several = Settings.model_validate({"auth": {"mode": ["bearer", "basic"]}})
    assert file.bad(several) == {}
    del file.http["authorization"]
    assert "bearer or basic" in file.examined(several)["authorization"].found


def test_credentials_of_another_kind_are_none(file: File) -> None:
    file.http["authorization"]["type"] = "Token"
    assert file.bad() == {"authorization": "wrong"}


def test_a_gateway_with_tls_is_not_spoken_to_without(file: File) -> None:
    tls = {"tls": {"cert_file": "/c", "key_file": "/k"}}
    assert file.bad(settings(server=tls)) == {"authorization": "warning"}
    file.webhook["url"] = file.webhook["url"].replace("http:", "https:")
    assert file.bad(settings(server=tls)) == {}


@pytest.mark.parametrize(
    ("own", "interval", "needed", "expected"),
    [
        (None, "1m", "10s", None),
        ("0s", "1m", "10s", None),
        ("10s", "1m", "10s", None),
        ("5s", "1m", "10s", "timeout"),
        (None, "1m", "90s", "group_interval"),
        ("80s", "1m", "90s", "group_interval"),
        (None, "1s", "10s", None),
    ],
)
def test_alertmanager_waits_as_long_as_the_gateway_may_take(
    file: File, own: str | None, interval: str, needed: str, expected: str | None
) -> None:
    if own:
        file.webhook["timeout"] = own
    file.route["group_interval"] = interval
    found = file.examined(settings(server={"request_timeout": needed}))["timeout"]
    assert (found.grade is Grade.OK) is (expected is None)
    if expected:
        assert found.remedy.startswith(f"raise {expected} to")


def test_whoever_gives_up_before_new_requests_are_waited_for_is_wrong(file: File) -> None:
    file.webhook["timeout"] = "200ms"
    assert file.bad() == {"timeout": "wrong"}


@pytest.mark.parametrize(
    "times",
    [
        {"group_interval": "5s"},
        {"repeat_interval": "30s"},
        {"repeat_interval": "45s"},
        {"repeat_interval": "1w"},
    ],
)
def test_intervals_that_make_no_sense_are_told(file: File, times: dict[str, str]) -> None:
    file.route |= times
    assert file.bad() == {"times": "warning"}


def test_times_are_those_of_the_routes_that_lead_to_the_receiver(file: File) -> None:
    file.whole["receivers"].append({"name": "mail"})
    file.route |= {"receiver": "mail", "repeat_interval": "1w", "routes": [{"receiver": "gateway"}]}
    assert file.bad() == {"times": "warning"}
    file.route["routes"] = [
        {"matchers": ["a=b"], "repeat_interval": "2h", "routes": [{"receiver": "gateway"}]}
    ]
    assert file.bad() == {}
    file.route["routes"] = [{"receiver": "mail"}]
    assert file.bad() == {"route": "warning"}


def test_receivers_that_post_elsewhere_are_left_alone(file: File, tmp_path: Path) -> None:
    file.whole["receivers"].append(
        {"name": "chat", "webhook_configs": [{"url": "http://chat/hook", "max_alerts": 3}]}
    )
    assert file.bad() == {}
    file.webhook["url"] = f"http://me:{SECRET}@proxy/gateway/api/v1/signals/prometheus/"
    assert file.bad() == {}
    file.webhook["url"] = f"http://me:{SECRET}@proxy/elsewhere"
    assert file.bad() == {"receivers": "wrong"}
    del file.webhook["url"]
    file.webhook["url_file"] = "url"
    assert file.bad() == {"receivers": "warning"}
    (tmp_path / "url").write_text("http://gateway:8080/v1/webhooks/prometheus\n")
    assert file.bad() == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "a: b",
        "route: []",
        "route: {receiver: a, group_interval: soon}",
        "route: &a {routes: [*a]}",
        "\x00",
    ],
)
def test_a_file_that_cannot_be_understood_is_wrong(tmp_path: Path, text: str) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(text)
    assert [(one.check, one.grade) for one in examine(path, settings())] == [("file", Grade.WRONG)]
    (missing,) = examine(tmp_path / "missing.yml", settings())
    assert missing.grade is Grade.WRONG
