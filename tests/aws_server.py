"""AWS as far as moto has it, over real HTTP, with faults that a test asks for."""

from __future__ import annotations

import http.client
import json
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import boto3
from moto.server import ThreadedMotoServer

REGION = "us-east-1"


class Aws:
    """moto's server, and before it one that counts requests and answers some of them itself."""

    def __init__(self) -> None:
        self._moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        self._moto.start()
        self.moto = self._moto.get_host_and_port()
        self._faults: dict[str, deque[tuple[int, str, bytes, str]]] = defaultdict(deque)
        self.asked: list[str] = []
        """Names of operations."""
        self._clients: dict[str, Any] = {}
        self._image = ""
        self._front = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._front.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._front.server_port}"

    def client(self, service: str) -> Any:
        if service not in self._clients:  # What one is made of takes long to read.
            self._clients[service] = boto3.client(
                service, region_name=REGION, endpoint_url=self.url, aws_access_key_id="x", aws_secret_access_key="y"
            )
        return self._clients[service]

    def image(self) -> str:
        """One that instances can be started from. There are always the same ones, and to name them all takes a second."""
        if not self._image:
            self._image = self.client("ec2").describe_images()["Images"][0]["ImageId"]
        return self._image

    def fail(self, operation: str, code: str, message: str = "because", status: int = 400, times: int = 1) -> None:
        """The next requests of this name get an error, in the form of their service."""
        if operation[0].islower():  # a path of AWS Batch
            kind, body = "application/json", json.dumps({"message": message}).encode()
        elif operation in ("RunTask", "ListTasks", "DescribeTasks", "DescribeClusters", "StopTask"):
            kind, body = "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message}).encode()
        else:
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            kind, body = "text/xml", f"<Response><Errors>{text}</Errors><RequestID>r</RequestID></Response>".encode()
        self._faults[operation].extend([(status, kind, body, code)] * times)

    def answer(self, operation: str, body: str, kind: str = "application/x-amz-json-1.1", times: int = 1) -> None:
        """The next requests of this name get this."""
        self._faults[operation].extend([(200, kind, body.encode(), "")] * times)

    def fault(self, operation: str) -> tuple[int, str, bytes, str] | None:
        self.asked.append(operation)
        return self._faults[operation].popleft() if self._faults[operation] else None

    def reset(self, **configuration: Any) -> None:
        self._faults.clear()
        self.asked.clear()
        self._tell_moto("reset", {})
        if configuration:
            self._tell_moto("config", configuration)
        # Tasks would stop by themselves when they have been described a few times.
        never = {"progression": "manual", "times": 1 << 30}
        self._tell_moto("state-manager/set-transition", {"model_name": "ecs::task", "transition": never})

    def _tell_moto(self, what: str, content: dict[str, Any]) -> None:
        connection = http.client.HTTPConnection(*self.moto)
        body = json.dumps(content)
        connection.request("POST", f"/moto-api/{what}", body, {"Content-Type": "application/json"})
        assert connection.getresponse().status < 300
        connection.close()

    def close(self) -> None:
        self._front.shutdown()
        self._front.server_close()
        self._moto.stop()


def _handler(aws: Aws) -> type[BaseHTTPRequestHandler]:
    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = aws.fault(self._operation(body))
            if fault is not None:
                status, kind, answer, code = fault
                headers = [("Content-Type", kind), *([("x-amzn-ErrorType", code)] if code else [])]
            else:
                connection = http.client.HTTPConnection(*aws.moto)
                connection.request(self.command, self.path, body, dict(self.headers))
                response = connection.getresponse()
                status, answer, headers = response.status, response.read(), response.getheaders()
                connection.close()
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "date", "server", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = _serve

        def _operation(self, body: bytes) -> str:
            target = self.headers.get("X-Amz-Target", "")
            return target.rpartition(".")[2] or parse_qs(body.decode()).get("Action", [self.path.rpartition("/")[2]])[0]

        def log_message(self, *_: Any) -> None:
            pass

    return Front


@contextmanager
def serving() -> Iterator[Aws]:
    aws = Aws()
    try:
        yield aws
    finally:
        aws.close()


def batch_queue(aws: Aws, name: str) -> str:
    """A queue of AWS Batch, and the definition ``worker`` of two CPUs."""
    ec2, iam, batch = aws.client("ec2"), aws.client("iam"), aws.client("batch")
    role = iam.create_role(RoleName="batch", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    environment = batch.create_compute_environment(
        computeEnvironmentName="here",
        type="MANAGED",
        serviceRole=role,
        computeResources={
            "type": "FARGATE",
            "maxvCpus": 16,
            "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
            "securityGroupIds": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        },
    )["computeEnvironmentArn"]
    order = [{"order": 1, "computeEnvironment": environment}]
    batch.create_job_queue(jobQueueName=name, state="ENABLED", priority=1, computeEnvironmentOrder=order)
    needs = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "2048"}]
    batch.register_job_definition(
        jobDefinitionName="worker",
        type="container",
        containerProperties={"image": "registry/scaler:1", "resourceRequirements": needs},
    )
    return name
