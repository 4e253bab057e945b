"""A proxy is used exactly where other Kubernetes clients would use it."""

from __future__ import annotations

import pytest

from gateway.kube.proxies import proxy_for

PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://api.example:6443", {}, None),
        ("https://api.example:6443", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://api.example:6443", {"https_proxy": PROXY}, PROXY),
        ("https://api.example:6443", {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        ("https://api.example:6443", {"HTTPS_PROXY": ""}, None),
        ("https://api.example:6443", {"HTTP_PROXY": PROXY}, None),
        ("http://api.example:8080", {"HTTP_PROXY": PROXY}, PROXY),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": PROXY}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": PROXY}, None),
        ("https://localhost:6443", {"HTTPS_PROXY": PROXY}, None),
        ("https://10.96.0.1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.96.0.0/12"}, None),
        ("https://10.96.0.1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.97.0.0/16,10.96.0.1"}, None),
        ("https://10.96.0.1", {"HTTPS_PROXY": PROXY, "NO_PROXY": "192.168.0.0/16"}, PROXY),
        ("https://api.corp.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "a.b, corp.example"}, None),
        ("https://api.corp.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": ".corp.example"}, None),
        ("https://api.corp.example", {"HTTPS_PROXY": PROXY, "no_proxy": "*.corp.example"}, None),
        ("https://api.xcorp.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "corp.example"}, PROXY),
        ("https://api.example", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, None),
        ("https://api.example:6443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.example:6443"}, None),
        ("https://api.example:6443", {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.example:443"}, PROXY),
        ("https://API.example.", {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.example"}, None),
    ],
)
def test_the_proxy_is_the_one_of_the_environment(
    url: str, environ: dict[str, str], proxy: str | None
) -> None:
    assert proxy_for(url, environ) == proxy
