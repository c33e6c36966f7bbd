"""The script that instances run, and what tells a worker that its machine is taken away."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scaler.manager.orb_aws_ec2 import start_script
from scaler.worker.notice import notice

WORKER = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b"told to end\\n"), os._exit(7)))  # It may come within print().
print("order:", os.environ["SCALER_WORKER_ORDER"], *sys.argv[1:], flush=True)
if sys.argv[1:] == ["stay"]:
    signal.pause()
sys.exit(3)
"""


class Metadata(ThreadingHTTPServer):
    """As an instance has it: only with a token, and nothing there until the end is announced."""

    taken = False
    tokens = 0


class Answer(BaseHTTPRequestHandler):
    server: Metadata

    def do_PUT(self) -> None:
        asked = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        self.server.tokens += 1
        self._answer(200 if asked and self.path == "/latest/api/token" else 400, "token")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            self._answer(401, "")
        elif self.path == "/latest/meta-data/spot/instance-action" and self.server.taken:
            self._answer(200, '{"action": "terminate"}')
        else:
            self._answer(404, "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    server = Metadata(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def begin(where: Path, command: str, **told: str) -> subprocess.Popen[str]:
    """The script, with a module in the place of the worker, and a file in that of powering off."""
    (where / "fake_worker.py").write_text(WORKER)
    path = os.pathsep.join([str(where), *sys.path])
    always = {"SCALER_PYTHON": sys.executable, "SCALER_COMMAND": command, "SCALER_POWER_OFF": f"touch {where}/off"}
    environment = {**os.environ, "PYTHONPATH": path, "SCALER_WORKER_ORDER": "o r'd", **always, **told}
    return subprocess.Popen(["sh", "-c", start_script()], env=environment, stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[int, list[str]]:
    said, _ = process.communicate(timeout=20)
    return process.returncode, said.splitlines()


def test_the_machine_is_powered_off_when_the_worker_has_ended(tmp_path):
    code, said = end(begin(tmp_path, "fake_worker once"))
    assert code == 3 and said[0] == "order: o r'd once"
    assert (tmp_path / "off").exists()


def test_what_cannot_be_started_powers_the_machine_off_too(tmp_path):
    told = {"SCALER_PYTHON": "/no/such/python", "SCALER_REQUIREMENTS": "numpy"}
    code, _ = end(begin(tmp_path, "fake_worker", **told))
    assert code == 1 and (tmp_path / "off").exists()


def test_a_signal_is_passed_on(tmp_path):
    process = begin(tmp_path, "fake_worker stay")
    assert process.stdout is not None and process.stdout.readline().startswith("order:")
    process.terminate()
    code, said = end(process)
    assert code == 7 and said[0] == "told to end" and (tmp_path / "off").exists()


def test_a_worker_whose_machine_is_taken_away_is_told(tmp_path, metadata):
    metadata.taken = True
    where = f"http://127.0.0.1:{metadata.server_port}"
    code, said = end(begin(tmp_path, "fake_worker stay", SCALER_SPOT="yes", SCALER_METADATA=where))
    assert code == 7 and "told to end" in said
    assert 'this machine will be taken away: {"action": "terminate"}' in said


def test_requirements_get_an_environment(tmp_path):
    """Nothing is fetched: what is installed is a directory."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "setup.py").write_text("from setuptools import setup\nsetup(name='x-y', py_modules=['brought'])\n")
    (package / "brought.py").write_text("print('brought along')\n")
    told = {"SCALER_REQUIREMENTS": f"{package}", "SCALER_ENVIRONMENT": str(tmp_path / "environment")}
    code, said = end(begin(tmp_path, "brought", PIP_NO_BUILD_ISOLATION="0", PIP_NO_INDEX="1", **told))
    assert code == 0 and said[0] == "brought along"
    assert (tmp_path / "environment/bin/python").exists()


def test_nothing_is_announced_as_a_rule(metadata):
    where = f"http://127.0.0.1:{metadata.server_port}"
    assert notice(where) == ""
    metadata.taken = True
    assert notice(where) == '{"action": "terminate"}' and metadata.tokens == 2


def test_without_metadata_it_is_not_known(metadata):
    with pytest.raises(OSError, match="400"):
        notice(f"http://127.0.0.1:{metadata.server_port}/elsewhere")
