"""A test's own way to a Kubernetes API: plain HTTPS and JSON, sharing no code with the gateway's client."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import yaml

from chaos.rig import tools
from chaos.rig.waiting import wait_until

Json = dict[str, Any]

CRD_FILE = Path(__file__).parents[2] / "deploy" / "crds" / "remediationrequests.yaml"
GROUP_PATH = "/apis/remediation.kubernaut.io/v1alpha1"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class ApiError(Exception):
    """The API answered with an error. `status` is the HTTP status, `body` its Status object."""

    def __init__(self, method: str, path: str, status: int, body: Json) -> None:
        super().__init__(f"{method} {path}: {status} {body.get('reason', '')}: {body.get('message', '')}")
        self.status = status
        self.body = body


class Api:
    """One Kubernetes API, as one user of it. `kubeconfig` is a file with the same access, for kubectl and gateways."""

    def __init__(self, url: str, *, token: str, ca: Path | None, kubeconfig: Path) -> None:
        self.url = url
        self.token = token
        self.ca = ca
        self.kubeconfig = kubeconfig
        where = urlsplit(url)
        self._host, self._port, self._tls = where.hostname or "", where.port or 443, where.scheme == "https"
        self._context = ssl.create_default_context(cafile=str(ca)) if ca else None

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls:
            return http.client.HTTPSConnection(self._host, self._port, timeout=30, context=self._context)
        return http.client.HTTPConnection(self._host, self._port, timeout=30)

    def send(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> tuple[int, Json]:
        """One call on a connection of its own; returns status and JSON body, whatever the status is.

        Raises `OSError` or `http.client.HTTPException` where no answer comes.
        """
        connection = self._connection()
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = content_type
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, cast("Json", json.loads(content))
        except ValueError:
            return answer.status, {"message": content.decode(errors="replace")}

    def lines(self, path: str) -> Iterator[Json]:
        """The JSON lines of a streaming GET, a watch, until the server ends it."""
        connection = self._connection()
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            while line := answer.readline():
                yield cast("Json", json.loads(line))
        finally:
            connection.close()

    def call(
        self, method: str, path: str, body: object = None, *, content_type: str = "application/json"
    ) -> Json:
        """Like `send`, but returns the body of a success and raises `ApiError` otherwise."""
        status, answer = self.send(method, path, body, content_type=content_type)
        if not 200 <= status < 300:
            raise ApiError(method, path, status, answer)
        return answer

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Runs kubectl against this API and returns what it printed; raises `RuntimeError` if it fails and `check`."""
        command = [str(tools.find("kubectl")), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def apply(self, documents: Sequence[Json] | Path) -> None:
        """Creates what is not there: objects, or the YAML documents of a file. Existing ones stay as they are."""
        if isinstance(documents, Path):
            documents = [document for document in yaml.safe_load_all(documents.read_text()) if document]
        for document in documents:
            path = self._collection(document)
            status, answer = self.send("POST", path, document)
            if status not in (201, 409):
                raise ApiError("POST", path, status, answer)

    def _collection(self, document: Json) -> str:
        """Where objects of the document's kind are created, by discovery."""
        version = document["apiVersion"]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        for resource in self.call("GET", base)["resources"]:
            if resource["kind"] == document["kind"] and "/" not in resource["name"]:
                if not resource["namespaced"]:
                    return f"{base}/{resource['name']}"
                return (
                    f"{base}/namespaces/{document['metadata'].get('namespace', 'default')}/{resource['name']}"
                )
        raise LookupError(f"the API does not know {version} {document['kind']}")

    def install_crd(self, path: Path = CRD_FILE, *, seconds: float = 30.0) -> None:
        """Creates a CustomResourceDefinition unless it is there, and waits until its objects are served."""
        definition = yaml.safe_load(path.read_text())
        self.apply([definition])
        name, spec = definition["metadata"]["name"], definition["spec"]
        versions = [version["name"] for version in spec["versions"] if version["served"]]

        def established() -> bool:
            found = self.call("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
            conditions = {c["type"]: c["status"] for c in found.get("status", {}).get("conditions") or []}
            return conditions.get("Established") == "True" and all(
                # Established comes a little before the handler and its discovery are in place.
                self.send("GET", f"/apis/{spec['group']}/{version}/{spec['names']['plural']}?limit=1")[0]
                == 200
                and self.send("GET", f"/apis/{spec['group']}/{version}")[0] == 200
                for version in versions
            )

        wait_until(established, f"{name} to be served", seconds=seconds, every=0.05)

    def create_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        """Creates a namespace unless it is there."""
        self.apply(
            [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}]
        )

    def remove_namespace(self, name: str) -> None:
        """Deletes a namespace and the requests in it, at once.

        No controller manager runs here, which would empty the namespace and then let it go: that is done by hand.
        """
        self.send("DELETE", f"{GROUP_PATH}/namespaces/{name}/remediationrequests")
        status, namespace = self.send("DELETE", f"/api/v1/namespaces/{name}")
        if status == 404:
            return
        if namespace.get("kind") == "Namespace":
            namespace["spec"] = {"finalizers": []}
            self.send("PUT", f"/api/v1/namespaces/{name}/finalize", namespace)

    def requests(self, namespace: str = "", *, selector: str = "") -> list[Json]:
        """The RemediationRequests of a namespace, or of all; `selector` is a label selector."""
        where = f"/namespaces/{namespace}" if namespace else ""
        query = f"?labelSelector={selector}" if selector else ""
        return cast(
            "list[Json]", self.call("GET", f"{GROUP_PATH}{where}/remediationrequests{query}")["items"]
        )

    def set_phase(self, namespace: str, name: str, phase: str) -> Json:
        """Sets `status.overallPhase` of a request through the status subresource, as a controller does."""
        path = f"{GROUP_PATH}/namespaces/{namespace}/remediationrequests/{name}/status"
        return self.call("PATCH", path, {"status": {"overallPhase": phase}}, content_type=MERGE_PATCH)

    def delete_request(self, namespace: str, name: str) -> None:
        """Deletes a request, as an operator does; one that is gone already is fine."""
        path = f"{GROUP_PATH}/namespaces/{namespace}/remediationrequests/{name}"
        status, answer = self.send("DELETE", path)
        if status not in (200, 202, 404):
            raise ApiError("DELETE", path, status, answer)
