"""A Kubernetes control plane for tests: etcd and the real kube-apiserver, RBAC and all, but no controllers.

It is ready about three seconds after its start. Nothing garbage-collects, schedules or finalizes in it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
from pathlib import Path
from typing import Literal

import yaml

from chaos.rig import tools
from chaos.rig.api import Api
from chaos.rig.certificates import elliptic_private_key
from chaos.rig.ports import free_port
from chaos.rig.processes import Process

ADMIN_TOKEN = "rig-admin"
USER_TOKEN = "rig-gateway"
USER = "gateway"
FALLBACK_NAMESPACE = "kubernaut-system"

Etcd = Literal["any", "recent"]
"""Whichever is there, or one with which the API server answers lists from its cache."""


class Cluster:
    """etcd and one API server over it. `api` is the admin's access; `user_api()` that of a user without rights.

    `etcd` and `server` are processes: kill, pause, start them as a test wants; `restart_server` waits until ready.
    """

    def __init__(self, folder: Path, *, name: str = "cluster", etcd: Etcd = "any") -> None:
        """Writes nothing yet; `start` does."""
        self.folder = folder
        self._etcd_port, self._port = free_port(), free_port()
        self.etcd_url = f"http://127.0.0.1:{self._etcd_port}"
        self.url = f"https://127.0.0.1:{self._port}"
        self.kubeconfig = folder / "kubeconfig"
        self._ca = folder / "certificates" / "apiserver.crt"
        peer = f"http://127.0.0.1:{free_port()}"
        self.etcd = Process(
            f"{name}-etcd",
            [
                tools.find("etcd", etcd),
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={self.etcd_url}",
                f"--advertise-client-urls={self.etcd_url}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
            folder=folder,
        )
        key = folder / "service-accounts.key"
        self.server = Process(
            f"{name}-kube-apiserver",
            [
                tools.find("kube-apiserver"),
                f"--etcd-servers={self.etcd_url}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                f"--secure-port={self._port}",
                f"--cert-dir={folder / 'certificates'}",
                f"--token-auth-file={folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.0.0.0/24",
                # Nothing here makes service accounts, and a loopback address is no endpoint.
                "--disable-admission-plugins=ServiceAccount",
                "--endpoint-reconciler-type=none",
                "--enable-priority-and-fairness=false",
                "--max-requests-inflight=3000",
                "--max-mutating-requests-inflight=1000",
                "--v=1",
            ],
            folder=folder,
        )

    @property
    def api(self) -> Api:
        """The admin's access; the server must have been started once."""
        return Api(self.url, token=ADMIN_TOKEN, ca=self._ca, kubeconfig=self.kubeconfig)

    def user_api(self) -> Api:
        """The access of user `gateway`, who may do nothing until a test grants it by RBAC."""
        return user_access(self.api)

    def start(self) -> None:
        """Starts both and waits until the API server is ready; then the fallback namespace is there, too."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "service-accounts.key").write_text(elliptic_private_key())
        (self.folder / "tokens.csv").write_text(
            f'{ADMIN_TOKEN},admin,admin,"system:masters"\n{USER_TOKEN},{USER},{USER}\n'
        )
        self.etcd.start()
        self.restart_server()
        self.api.create_namespace(FALLBACK_NAMESPACE)

    def restart_server(self) -> None:
        """Starts the API server, after SIGKILL if it runs, on the same port over the same etcd; waits until ready."""
        self.server.kill()
        self.server.start()
        self.server.until(self._ready, seconds=60)

    def stop(self) -> None:
        """Ends both and removes what they stored; the logs stay."""
        self.server.kill()
        self.etcd.kill()
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    def _ready(self) -> bool:
        if not self._ca.exists():
            return False
        with contextlib.suppress(OSError, http.client.HTTPException):
            write_kubeconfig(self.kubeconfig, self.url, ADMIN_TOKEN, self._ca)
            # Whoever may not read the namespaces yet meets a server whose RBAC rules are still on their way.
            return all(
                self.api.send("GET", path)[0] == 200 for path in ("/readyz", "/api/v1/namespaces/default")
            )
        return False


def user_access(admin: Api) -> Api:
    """The access of user `gateway` to the API of an admin's access."""
    kubeconfig = admin.kubeconfig.with_name("kubeconfig-user")
    if not kubeconfig.exists():
        write_kubeconfig(kubeconfig, admin.url, USER_TOKEN, admin.ca)
    return Api(admin.url, token=USER_TOKEN, ca=admin.ca, kubeconfig=kubeconfig)


def write_kubeconfig(path: Path, url: str, token: str, ca: Path | None) -> None:
    """Writes a kubeconfig with one context, `rig`."""
    cluster = {"server": url} | ({"certificate-authority": str(ca)} if ca else {})
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "rig",
        "clusters": [{"name": "rig", "cluster": cluster}],
        "users": [{"name": "rig", "user": {"token": token}}],
        "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig", "namespace": "default"}}],
    }
    # Of a name that no other process takes: workers that share a folder may write the same file at once.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    unfinished.write_text(yaml.safe_dump(content))
    unfinished.replace(path)
