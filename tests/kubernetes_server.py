"""The part of Kubernetes' API that a worker manager uses, over HTTP: pods of one namespace, which run as processes if asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

PODS = re.compile(r"/api/v1/namespaces/([^/]+)/pods(?:/([^/]+))?(/log)?$")


class Pods:
    """All pods, as the server shows them. Tests may change what is in them."""

    def __init__(self, runs: bool) -> None:
        self.lock = threading.RLock()
        self.by_name: dict[str, dict[str, Any]] = {}
        self.created: list[dict[str, Any]] = []
        """All that ever were, dry runs too."""
        self.most = 1000
        self.out_of_order = ""
        """What every request is answered, if it is not empty."""
        self._runs = runs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def create(self, pod: dict[str, Any], dry_run: bool) -> tuple[int, dict[str, Any]]:
        name = pod["metadata"]["name"]
        with self.lock:
            self.created.append(json.loads(json.dumps(pod)))
            if name in self.by_name:
                return refused(409, "AlreadyExists", f'pods "{name}" already exists')
            if len(self.by_name) >= self.most:
                return refused(403, "Forbidden", f'pods "{name}" is forbidden: exceeded quota: pods={self.most}')
            pod["metadata"]["uid"] = os.urandom(8).hex()
            pod["status"] = {"phase": "Pending"}
            if not dry_run:
                self.by_name[name] = pod
                if self._runs:
                    self._run(name, pod)
            return 201, pod

    def _run(self, name: str, pod: dict[str, Any]) -> None:
        (container,) = pod["spec"]["containers"]
        environment = {entry["name"]: entry["value"] for entry in container["env"]}
        process = subprocess.Popen(
            container["command"],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._processes[name] = process
        pod["status"] = {"phase": "Running"}
        threading.Thread(target=self._watch, args=(name, process), daemon=True).start()

    def _watch(self, name: str, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        with self.lock:
            del self._processes[name]
            pod = self.by_name.get(name)
            if pod is not None and "deletionTimestamp" in pod["metadata"]:
                del self.by_name[name]
            elif pod is not None:
                self.fail(name, code) if code else pod["status"].update(phase="Succeeded")

    def fail(self, name: str, code: int, **status: Any) -> None:
        ended = {"name": "worker", "state": {"terminated": {"exitCode": code, "reason": "Error"}}}
        ended |= {"image": "i", "imageID": "", "ready": False, "restartCount": 0}
        self.by_name[name]["status"] = {"phase": "Failed", "containerStatuses": [ended], **status}

    def delete(self, name: str, grace_seconds: int | None) -> tuple[int, dict[str, Any]]:
        with self.lock:
            pod = self.by_name.get(name)
            if pod is None:
                return refused(404, "NotFound", f'pods "{name}" not found')
            process = self._processes.get(name)
            if process is None:
                del self.by_name[name]
            else:
                pod["metadata"]["deletionTimestamp"] = datetime.now(UTC).isoformat()
                process.kill() if grace_seconds == 0 else process.terminate()
            return 200, pod

    def close(self) -> None:
        for process in list(self._processes.values()):
            process.kill()
            process.wait()


def refused(code: int, reason: str, text: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "status": "Failure", "reason": reason, "message": text, "code": code}


@contextmanager
def serving(where: Path, runs: bool = False) -> Iterator[tuple[Pods, Path]]:
    """Yields the pods and a kubeconfig. With ``runs`` the command of a pod's container is run on this machine."""
    pods = Pods(runs)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self, code: int, body: dict[str, Any] | str) -> None:
            content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _asked(self) -> tuple[str, dict[str, str], dict[str, Any]]:
            url = urlparse(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            found = PODS.match(url.path)
            assert found is not None and found[1] == "farm", self.path
            return (found[2] or "") + (found[3] or ""), {k: v[0] for k, v in parse_qs(url.query).items()}, body

        def do_GET(self) -> None:
            name, query, _ = self._asked()
            if pods.out_of_order:
                self._answer(*refused(500, "InternalError", pods.out_of_order))
            elif name.endswith("/log"):
                self._answer(200, "first\nlast words\n" if query.get("tailLines") is None else "last words\n")
            else:
                key, _, value = query.get("labelSelector", "").partition("=")
                with pods.lock:
                    items = [pod for pod in pods.by_name.values() if pod["metadata"]["labels"].get(key, "") == value]
                    self._answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

        def do_POST(self) -> None:
            _, query, body = self._asked()
            if pods.out_of_order:
                self._answer(*refused(500, "InternalError", pods.out_of_order))
            else:
                self._answer(*pods.create(body, query.get("dryRun") == "All"))

        def do_DELETE(self) -> None:
            name, query, body = self._asked()
            grace = query.get("gracePeriodSeconds", body.get("gracePeriodSeconds"))
            self._answer(*pods.delete(name, None if grace is None else int(grace)))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    config = where / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "me", "user": {"token": "t"}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "farm"}}],
            }
        )
    )
    try:
        yield pods, config
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        pods.close()
