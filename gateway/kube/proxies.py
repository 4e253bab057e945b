"""Which proxy leads to the API server, by the variables that every Kubernetes client follows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL, or None to connect directly.

    As in Go's `ProxyFromEnvironment`: `HTTPS_PROXY` or `HTTP_PROXY` by the URL's scheme, in either case;
    never for loopback; `NO_PROXY` lists names (with their subdomains), addresses, networks (`10.0.0.0/8`), or
    `*`.
    """
    parts = urlsplit(url)
    proxy = _variable(f"{parts.scheme}_proxy", environ)
    host = (parts.hostname or "").rstrip(".").lower()
    if not proxy or not host or _bypassed(host, parts.port, _variable("no_proxy", environ)):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _variable(name: str, environ: Mapping[str, str]) -> str:
    return (environ.get(name.upper()) or environ.get(name) or "").strip()


def _bypassed(host: str, port: int | None, exceptions: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    entries = [entry for part in exceptions.split(",") if (entry := part.strip().lower())]
    return any(_matches(entry, host, port) or _contains(entry, address) for entry in entries)


def _matches(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    name, _, wanted = entry.rpartition(":") if entry.count(":") == 1 else (entry, "", "")
    if wanted and wanted != str(port or ""):
        return False
    name = name.removeprefix("*").removeprefix(".")
    return host == name or host.endswith(f".{name}")


def _contains(entry: str, address: IPv4Address | IPv6Address | None) -> bool:
    try:
        return address is not None and address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
