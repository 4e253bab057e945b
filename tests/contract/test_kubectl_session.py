"""What `kubectl` prints: the same over the embedded Kubernetes API as over a real kube-apiserver, text for text.

Both servers get the same namespace, the same manifests and the same commands. Only what must differ is made equal:
uids, versions, times and ages, and the servers' addresses. Output, errors and exit codes are compared as they are.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from chaos.rig import tools
from chaos.rig.api import Api
from tests.contract.speaking import a_request
from tests.rig.fixtures import require

PHASE = "jsonpath={.status.overallPhase}"
COLUMNS = (
    "custom-columns=NAME:.metadata.name,COUNT:.spec.deduplication.occurrenceCount,PHASE:.status.overallPhase"
)


@pytest.fixture
def name() -> str:
    """The namespace of the session, on both servers."""
    return f"kubectl-{os.urandom(4).hex()}"


@pytest.fixture
def servers(embedded: Api, cluster: Api, name: str) -> Iterator[tuple[Api, Api]]:
    """The embedded one, and the real one."""
    require("kubectl")
    yield embedded, cluster
    for api in (embedded, cluster):
        api.remove_namespace(name)


@pytest.fixture
def manifest(tmp_path: Path, name: str) -> Callable[..., str]:
    """Writes a request into a file, and returns the file's name."""

    def write(request: str, **spec: object) -> str:
        body = a_request(request, labels={"a": "b"}, **spec)
        body["metadata"]["namespace"] = name
        file = tmp_path / f"{request}-{len(list(tmp_path.iterdir()))}.json"
        file.write_text(json.dumps(body))
        return str(file)

    return write


class Kubectl:
    """The program, on one server. Its cache is a folder of its own: an old server may have had the same address."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._server = api.url
        self._program = [
            *(str(tools.find("kubectl")), "--kubeconfig", str(api.kubeconfig)),
            *("--cache-dir", str(folder / re.sub(r"\W", "-", api.url))),
        ]

    def __call__(self, *arguments: str) -> str:
        """One command as a person sees it: what was typed, what was printed, and how it ended."""
        done = subprocess.run(
            [*self._program, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        shown = [f"$ kubectl {' '.join(arguments)}", done.stdout.rstrip("\n"), done.stderr.rstrip("\n")]
        text = "\n".join(part for part in shown if part)
        return f"{self._settled(text)}\n(exit code {done.returncode})\n"

    def _settled(self, text: str) -> str:
        for pattern, word in (
            (re.escape(self._server), "SERVER"),
            (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UID"),
            (r"(?i)(resource ?version\"?: +)\"?\d+\"?", r"\1VERSION"),
            (r"(?i)((?:creation|deletion) ?timestamp\"?: +)\"?[0-9TZ:-]+\"?", r"\1TIME"),
            # What a server-side apply sends, which the embedded API has not.
            (r", application/apply-patch\+yaml", ""),
            # An age of ten seconds is a character wider than one of nine, and so are the blanks after it narrower.
            (r"(?m)(?<= )(?:\d+s|\d+m(?:\d+s)?)(?: +|$)", "AGE "),
        ):
            text = re.sub(pattern, word, text)
        return text


def compare(servers: tuple[Api, Api], folder: Path, commands: Sequence[Sequence[str]]) -> str:
    """Run the commands on both, one by one, and return the session once it was the same."""
    ours, real = (Kubectl(api, folder) for api in servers)
    pairs = [(ours(*command), real(*command)) for command in commands]
    differences = [difference for pair in pairs if (difference := "\n".join(told_apart(*pair)))]
    assert not differences, "\n\n".join(["- the embedded API, + the real one", *differences])
    return "".join(text for _, text in pairs)


def told_apart(ours: str, real: str) -> list[str]:
    return list(difflib.unified_diff(ours.splitlines(), real.splitlines(), lineterm="", n=1))[2:]


def test_a_request_from_making_it_to_deleting_it(
    servers: tuple[Api, Api], manifest: Callable[..., str], name: str, tmp_path: Path
) -> None:
    first, changed, broken = (
        manifest("one"),
        manifest("one", environment="staging"),
        manifest("two", severity="bad"),
    )
    at = ("-n", name)
    status = ("patch", "rr", "one", *at, "--subresource=status", "--type=merge", "-p")
    session = compare(
        servers,
        tmp_path,
        [
            ["create", "namespace", name],
            ["create", "namespace", name],
            ["label", "namespace", name, "environment=staging"],
            ["get", "namespace", name, "--show-labels"],
            ["apply", "-f", first],
            ["apply", "-f", first],
            ["apply", "-f", changed],
            ["diff", "-f", changed],
            ["create", "-f", first],
            ["create", "-f", broken],
            ["get", "rr", *at],
            ["get", "rr", *at, "-o", "wide", "--show-labels"],
            ["get", "remediationrequests", *at, "-o", "name"],
            ["get", "rr", "one", *at, "-o", "yaml"],
            ["get", "rr", "one", *at, "-o", "json"],
            ["get", "rr", *at, "-o", COLUMNS],
            ["get", "rr", *at, "--no-headers", "--sort-by=.metadata.name"],
            ["describe", "rr", "one", *at],
            ["patch", "rr", "one", *at, "--type=merge", "-p", '{"spec":{"priority":"P9"}}'],
            ["patch", "rr", "one", *at, "--type=merge", "-p", '{"spec":{"priority":"P1"}}'],
            ["patch", "rr", "one", *at, "--type=merge", "-p", '{"spec":{"priority":"P1"}}'],
            ["patch", "rr", "one", *at, "--type=json", "-p", '[{"op":"remove","path":"/spec/none"}]'],
            ["patch", "rr", "one", *at, "-p", '{"spec":{"priority":"P1"}}'],
            ["patch", "rr", "one", *at, "--type=merge", "-p", '{"status":{"overallPhase":"Failed"}}'],
            ["wait", "rr/one", *at, f"--for={PHASE}=Completed", "--timeout=3s"],
            [*status, '{"status":{"overallPhase":"Completed"},"spec":{"priority":"P3"}}'],
            [*status, '{"status":{"overallPhase":5}}'],
            ["wait", "rr/one", *at, f"--for={PHASE}=Completed", "--timeout=10s"],
            ["get", "rr", *at],
            ["get", "rr", "one", *at, "--subresource=status", "-o", PHASE],
            ["get", "rr", "one", *at, "-o", "jsonpath={.spec.priority} {.metadata.generation}"],
            ["label", "rr", "one", *at, "c=d"],
            ["label", "rr", "one", *at, "c=e"],
            ["label", "rr", "one", *at, "a-"],
            ["annotate", "rr", "one", *at, "note=seen"],
            ["describe", "rr", "one", *at],
            ["delete", "rr", "one", *at, "--dry-run=server"],
            ["delete", "rr", "one", *at],
            ["wait", "rr/one", *at, "--for=delete", "--timeout=10s"],
            ["delete", "rr", "one", *at],
            ["delete", "rr", "one", *at, "--ignore-not-found"],
            ["get", "rr", *at],
        ],
    )
    assert "condition met" in session
    assert "timed out waiting for the condition" in session
    assert re.search(r"one +PodOOMKilled +critical +P1 .* Completed +AGE", session)


def test_many_requests_and_questions_about_them(
    servers: tuple[Api, Api], manifest: Callable[..., str], name: str, tmp_path: Path
) -> None:
    files = [manifest(request, stormAlertCount=number) for number, request in enumerate(("x", "y", "z"))]
    at = ("-n", name)
    session = compare(
        servers,
        tmp_path,
        [
            ["get", "rr", *at],
            ["create", "namespace", name],
            ["create", "-f", files[0], "-f", files[1], "-f", files[2]],
            ["label", "rr", "y", "z", *at, "part=late"],
            ["get", "rr", *at, "-l", "part=late"],
            ["get", "rr", *at, "-l", "part notin (late)"],
            ["get", "rr", *at, "-l", "a in (x,y)"],
            ["get", "rr", *at, "--field-selector", "metadata.name=x"],
            ["get", "rr", *at, "--field-selector", "spec.severity=critical"],
            ["get", "rr", *at, "--chunk-size=2"],
            ["get", "rr", *at, "-o", "jsonpath={.items[*].spec.stormAlertCount}"],
            ["get", "rr", "x", "nobody", *at],
            ["get", "rr,namespaces", *at, "-l", "part=late"],
            ["get", "nothings", *at],
            ["replace", "-f", files[0]],
            ["replace", "--force", "-f", files[0]],
            # Not "explain rr": what Kubernetes says of the fields of every object is its own wording.
            ["explain", "rr.spec"],
            ["explain", "rr.spec.deduplication"],
            ["explain", "rr.spec.severity"],
            ["explain", "rr.status", "--recursive"],
            ["auth", "can-i", "create", "rr", *at],
            ["api-resources", "--api-group=remediation.kubernaut.io"],
            ["get", "events", *at],
            ["delete", "rr", *at, "-l", "part=late"],
            ["delete", "rr", *at, "--all"],
            ["get", "rr", *at],
        ],
    )
    assert session.count('" deleted') == 4  # one of them was replaced by force
