"""Commands that end before anything starts: bad usage, help, files that cannot be used."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import tomllib
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import pytest

from scaler.cli import cluster, demo, object_storage_server, scheduler, top, worker_manager, workers
from scaler.cli import main as whole
from scaler.cli.options import check_bind, check_metrics, is_loopback
from scaler.config import WORKER_ORDER
from scaler.errors import ConfigurationError
from scaler.ids import Address
from scaler.manager.backend import WorkerOrder
from scaler.manager.template import WorkerTemplate
from scaler.security import make_secret
from scaler.worker.state import WorkerOptions

HERE = "tcp://127.0.0.1:8516"
STORAGE = "tcp://127.0.0.1:8517"
OPEN = "tcp://0.0.0.0:8516"
COMMANDS = {
    "scaler": whole.main,
    "scaler_object_storage_server": object_storage_server.main,
    "scaler_scheduler": scheduler.main,
    "scaler_cluster": cluster.main,
    "scaler_worker_manager": worker_manager.main,
    "scaler_top": top.main,
}
TABLES = {name: importlib.import_module(main.__module__).OPTIONS for name, main in COMMANDS.items()}


@pytest.fixture
def refused(capsys):
    """What a command says about bad usage: one line, with its name in front."""

    def call(program: str, *argv: str) -> str:
        try:
            code = COMMANDS[program](argv)
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        assert code == 2
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert said.err.startswith(f"{program}: ")
        return said.err.removeprefix(f"{program}: ").removesuffix(f"; see {program} --help\n")

    return call


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> str:
        (tmp_path / "c.toml").write_text(text)
        return str(tmp_path / "c.toml")

    return write


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("scaler_object_storage_server", "ADDRESS is missing"),
        ("scaler_object_storage_server x", "ADDRESS: 'x' is not an address; write it as tcp://host:port"),
        (f"scaler_object_storage_server {OPEN}", "ADDRESS: other machines can reach tcp://0.0.0.0:8516"),
        (f"scaler_object_storage_server {HERE} --io 3", "unknown argument --io"),
        (f"scaler_object_storage_server {HERE} -lp /no/such/file", "cannot log to /no/such/file: No such file"),
        (f"scaler_object_storage_server {HERE} -ll LOUD", "--logging-level: 'LOUD' is none of DEBUG"),
        (f"scaler_object_storage_server {HERE} -el twisted", "--event-loop: 'twisted' is none of uvloop, builtin"),
        ("scaler_scheduler", "ADDRESS is missing"),
        (f"scaler_scheduler {HERE}", "--object-storage-address is missing"),
        (f"scaler_scheduler {OPEN} -osa {STORAGE}", "ADDRESS: other machines can reach tcp://0.0.0.0:8516"),
        (f"scaler_scheduler {HERE} -osa {STORAGE} -ma {OPEN}", "--monitor-address: other machines can reach"),
        (f"scaler_scheduler tcp://127.0.0.1:65535 -osa {STORAGE}", "--monitor-address is missing"),
        (
            f"scaler_scheduler {HERE} -osa {STORAGE} --metrics-address here",
            "--metrics-address: 'tcp://here' is not an a",
        ),
        (
            f"scaler_scheduler {HERE} -osa {STORAGE} --logging-format xml",
            "--logging-format: 'xml' is none of text, json",
        ),
        (f"scaler_scheduler {HERE} -osa {STORAGE} -mt -2", "--max-number-of-tasks-waiting: -2 is less than -1"),
        (f"scaler_scheduler {HERE} -osa {STORAGE} -ct 0", "--client-timeout-seconds: 0 s is no interval"),
        (f"scaler_scheduler {HERE} -osa {STORAGE} -et magic", "--policy-engine-type: 'magic' is none of simple"),
        (f"scaler_scheduler {HERE} -osa {STORAGE} -et waterfall_v1 -pc 1,a", "policy '1,a': '1,a' has 2 parts; write"),
        (f"scaler_scheduler {HERE} -osa {STORAGE} -pc allocate=odd", "policy 'allocate=odd': allocate='odd' is none"),
        (
            f"scaler_scheduler {HERE} -osa {STORAGE} --protect-ed",
            "unknown argument --protect-ed; did you mean --protec",
        ),
        ("scaler_cluster", "ADDRESS is missing"),
        (f"scaler_cluster {HERE} -n 0", "--num-of-workers: 0 is less than 1"),
        (f"scaler_cluster {HERE} -n many", "--num-of-workers: 'many' is no whole number"),
        (f"scaler_cluster {HERE} -his 0", "--heartbeat-interval-seconds: 0 s is no interval"),
        (f"scaler_cluster {HERE} -dts never", "--death-timeout-seconds: 'never' is no time in seconds"),
        (f"scaler_cluster {HERE} -mlb 2GB", "--memory-limit-bytes: '2GB' is no size; write a number of bytes, or 512M"),
        (f"scaler_cluster {HERE} -tm -1", "--trim-memory-threshold-bytes: '-1' is no size"),
        (f"scaler_cluster {HERE} -gc -1", "--garbage-collect-interval-seconds: '-1' is no time in seconds"),
        (f"scaler_cluster {HERE} --preload json", "--preload: 'json' is no preload; write package.module:function"),
        (f"scaler_cluster {HERE} --preload m:f(x)", "--preload: 'm:f(x)' is no preload: x is no literal"),
        (f"scaler_cluster {HERE} --allow-functions math", "--allow-functions: 'math' names no function; write math:*"),
        (f"scaler_worker_manager baremetal_native {HERE} --preload m:", "--preload: 'm:' is no preload"),
        ("scaler_worker_manager", "TYPE is missing"),
        ("scaler_worker_manager baremetal_native", "ADDRESS is missing"),
        (f"scaler_worker_manager moon {HERE}", "TYPE: 'moon' is none of baremetal_native"),
        (f"scaler_worker_manager baremetal_native {HERE} --mode moving", "--mode: 'moving' is none of dynamic, fixed"),
        (f"scaler_worker_manager {HERE} --mode fixed", "unknown argument --mode"),
        (f"scaler_worker_manager baremetal_native {HERE} --hosts a", "unknown argument --hosts"),
        (f"scaler_worker_manager baremetal_native {HERE} -mw -1", "--max-workers: -1 is less than 0"),
        (f"scaler_worker_manager ssh {HERE}", "--hosts is missing: say where to run workers"),
        (
            f"scaler_worker_manager ssh {HERE} --hosts a=x",
            "--hosts: 'a=x' is no host; write host, user@host, or host=8",
        ),
        (f"scaler_worker_manager ssh {HERE} --hosts a=1 b a", "--hosts: a is there twice"),
        (
            f"scaler_worker_manager aws_raw_ecs {HERE}",
            "say --max-task-concurrency or --max-workers: what is started costs",
        ),
        (f"scaler_worker_manager aws_raw_ecs {HERE} -mw 1", "--ecs-subnets is missing"),
        (
            f"scaler_worker_manager aws_raw_ecs {HERE} -mw 1 --ecs-subnets s",
            "say --ecs-task-definition, or --ecs-task-im",
        ),
        (
            f"scaler_worker_manager aws_raw_ecs {HERE} -mw 1 --ecs-subnets s --ecs-task-image i --ecs-task-definition d",
            "--ecs-task-definition says which image",
        ),
        (
            f"scaler_worker_manager aws_raw_ecs {HERE} -mw 1 --ecs-subnets s --ecs-task-image i --ecs-python-version 3.12",
            "--ecs-python-version needs --ecs-python-requirements",
        ),
        (f"scaler_worker_manager aws_raw_ecs {HERE} --ecs-task-cpu 0", "--ecs-task-cpu: '0' is no number above 0"),
        (
            f"scaler_worker_manager aws_raw_ecs {HERE} --ecs-launch-type moon",
            "--ecs-launch-type: 'moon' is none of FARG",
        ),
        (f"scaler_worker_manager orb_aws_ec2 {HERE} -mw 1", "--image-id is missing"),
        (f"scaler_worker_manager orb_aws_ec2 {HERE} -mw 1 --image-id ami-1", "--instance-type is missing"),
        (f"scaler_worker_manager orb_aws_ec2 {HERE} -mw 1 -wmi a/b", "--worker-manager-id: 'a/b' is no name for AWS"),
        (f"scaler_worker_manager orb_aws_ec2 {HERE} --aws-tags a", "--aws-tags: 'a' is no tag; write key=value"),
        (f"scaler_worker_manager orb_aws_ec2 {HERE} --aws-tags scaler:x=1", "--aws-tags: 'scaler:x=1' is no tag"),
        (f"scaler_worker_manager orb_aws_ec2 {HERE} -mw 1 --aws-tags a=1 a=2", "--aws-tags: a is there twice"),
        (
            f"scaler_worker_manager orb_aws_ec2 {HERE} -mw 1 --aws-access-key-id x",
            "--aws-access-key-id and --aws-secret",
        ),
        (f"scaler_worker_manager aws_hpc {HERE} -mw 1", "--job-queue is missing"),
        (f"scaler_worker_manager aws_hpc {HERE} -mw 1 --job-queue q", "--job-definition is missing"),
        (f"scaler_worker_manager aws_hpc {HERE} --image-id x", "unknown argument --image-id"),
        (f"scaler_worker_manager baremetal_native {HERE} --sweep", "--sweep needs --worker-manager-id"),
        ("scaler_top", "give ADDRESS or --replay FILE"),
        ("scaler_top here", "ADDRESS: 'here' is not an address; write it as tcp://host:port"),
        (f"scaler_top {HERE} --replay f", "--replay needs no ADDRESS"),
        (f"scaler_top {HERE} --json", "--json goes with --once"),
        (f"scaler_top {HERE} --interval-seconds 0", "--interval-seconds: 0 s is no interval"),
        (f"scaler_top {HERE} --once --record /no/such/file", "--record: cannot write /no/such/file: No such file"),
        ("scaler_top --replay /no/such", "--replay: cannot read /no/such: No such file"),
        (f"scaler_top {HERE} --export t.txt", "t.txt: there is no format for it; write .json for a trace, .csv or"),
        (f"scaler_top {HERE} --export /no/such.csv", "--export: cannot write /no/such.csv: No such file"),
        (f"scaler_top {HERE} --export t.csv --once", "--export writes what happens from now on"),
        (f"scaler_top {HERE} --for-seconds 3", "--for-seconds goes with ADDRESS and --export"),
        ("scaler_top --replay f --record g", "--record is for a running scheduler"),
        (f"scaler_top {HERE} --onec", "unknown argument --onec; did you mean --once?"),
        ("scaler /no/such.toml", "cannot read /no/such.toml: No such file or directory"),
        ("scaler a.toml -c b.toml", "one file is enough"),
        ("scaler a.toml -n 3", "--num-of-workers is for a cluster without a file"),
        ("scaler a.toml --metrics-address 1", "--metrics-address is for a cluster without a file"),
        ("scaler -n 0", "--num-of-workers: 0 is less than 1"),
        ("scaler --worker", "unknown argument --worker"),
    ],
)
def test_bad_usage(refused, command, said):
    assert refused(*command.split()).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing to run; there can be [object_storage_server], [scheduler], [worker_manager]"),
        (f"[gui]\naddress='{HERE}'\ngui_address='x'", "gui_address in [gui]: 'tcp://x' is not an address"),
        ("[top]", "[top]: give ADDRESS or --replay FILE"),
        ("[top]\naddress='x'", "[top]: ADDRESS: 'x' is not an address"),
        ("[shceduler]", "unknown section [shceduler]; did you mean scheduler?"),
        (f"[object_storage_server]\nadress='{HERE}'", "unknown key 'adress' in [object_storage_server]; did you mean"),
        (f"[scheduler]\naddress='{HERE}'", "[scheduler]: --object-storage-address is missing"),
        ("[scheduler]\naddress='x'", "address in [scheduler]: 'x' is not an address"),
        (f"[object_storage_server]\naddress='{OPEN}'", "[object_storage_server]: ADDRESS: other machines can reach"),
        ("[[worker_manager]]\ntype='baremetal_native'", "[worker_manager]: ADDRESS is missing"),
        (f"[[worker_manager]]\ntype='moon'\naddress='{HERE}'", "type in [worker_manager]: 'moon' is none of"),
    ],
)
def test_files_that_cannot_be_used(refused, file, text, said):
    path = file(text)
    assert refused("scaler", path).removeprefix(f"{path}: ").startswith(said)
    assert refused("scaler", "--config", path).startswith(f"{path}: ")


def test_the_monitor_beside_services_has_the_terminal_for_itself(file, capsys):
    text = f"""
        [scheduler]
        address = '{HERE}'
        [object_storage_server]
        address = '{STORAGE}'
        logging_paths = ['/var/log/storage']
        [top]
        interval_seconds = 0.5
    """
    parts = {part.command.section: part.options for part in whole.read_parts(file(text))}
    assert (parts["top"].address, parts["top"].interval_seconds) == ("tcp://127.0.0.1:8518", 0.5)
    whole._leave_the_terminal(whole.read_parts(file(text)))
    assert "scaler.log" in capsys.readouterr().out
    parts_again = whole.read_parts(file(text))
    whole._leave_the_terminal(parts_again)
    paths = {part.command.section: part.options.logging_paths for part in parts_again if part.command.logs}
    assert paths == {"scheduler": ("scaler.log",), "object_storage_server": ("/var/log/storage",)}
    (monitor,) = (part for part in whole.read_parts(file(f"[top]\naddress = '{HERE}'")))
    assert monitor.options.address == HERE


def test_a_file_need_not_say_an_address_twice(file):
    text = f"""
        [[worker_manager]]
        type = "baremetal_native"
        [[worker_manager]]
        type = "baremetal_native"
        address = "tcp://127.0.0.1:1"
        max-task-concurrency = 3
        [scheduler]
        address = "{HERE}"
        [object_storage_server]
        address = "{STORAGE}"
    """
    parts = whole.read_parts(file(text))
    assert [part.command.section for part in parts] == [
        "object_storage_server",
        "scheduler",
        "worker_manager",
        "worker_manager",
    ]
    assert str(parts[1].options.object_storage_address) == STORAGE
    assert [str(part.options.address) for part in parts[2:]] == [HERE, "tcp://127.0.0.1:1"]
    assert parts[3].options.max_task_concurrency == 3


def test_a_file_of_opengris_scaler(file):
    text = f"""
        [object_storage_server]
        bind_address = "{STORAGE}"
        [scheduler]
        bind-address = "{HERE}"
        object_storage_address = "{STORAGE}"
        [[worker_manager]]
        type = "baremetal_native"
        scheduler_address = "{HERE}"
        worker_manager_id = "wm-native"
        [top]
        monitor_address = "tcp://127.0.0.1:8518"
    """
    parts = whole.read_parts(file(text))
    assert [str(part.options.address) for part in parts] == [STORAGE, HERE, HERE, "tcp://127.0.0.1:8518"]


OF_KINDS = {
    "ssh": {"hosts": (["a=1", "b"], (("a", 1), ("b", 0))), "slots_per_host": ("3", 3)},
    "aws_raw_ecs": {
        "ecs_subnets": (["s-1,s-2"], ("s-1,s-2",)),
        "ecs_task_image": ("image", "image"),
        "ecs_task_cpu": ("0.5", 0.5),
        "ecs_launch_type": ("fargate_spot", "FARGATE_SPOT"),
        "ecs_python_requirements": ("a;b", "a;b"),
    },
    "orb_aws_ec2": {
        "image_id": ("ami-1", "ami-1"),
        "instance_type": ("c5.large", "c5.large"),
        "security_group_ids": (["sg-1"], ("sg-1",)),
        "aws_tags": (["team=blue"], (("team", "blue"),)),
        "max_instance_hours": ("1.5", 1.5),
    },
    "aws_hpc": {"job_queue": ("q", "q"), "job_definition": ("d:1", "d:1"), "job_timeout_minutes": ("60", 60)},
    "slurm": {"partition": ("batch", "batch"), "cpus_per_slot": ("2", 2), "grace_seconds": ("5", 5.0)},
    "kubernetes": {
        "image": ("scaler:1", "scaler:1"),
        "cpu_per_slot": ("500m", "500m"),
        "node_selector": (["disk=fast"], (("disk", "fast"),)),
    },
}


@pytest.mark.parametrize("way", ["flags", "environment", "file"])
@pytest.mark.parametrize("kind", OF_KINDS)
def test_what_only_one_kind_has_can_be_said_in_every_way(kind, way, file, monkeypatch):
    argv, table = [kind, HERE], [f"type = '{kind}'", f"address = '{HERE}'"]
    for name, (text, _) in OF_KINDS[kind].items():
        words = text if isinstance(text, list) else [text]
        if way == "flags":
            argv += ["--" + name.replace("_", "-"), *words]
        elif way == "environment" and len(words) == 1:
            monkeypatch.setenv(f"SCALER_WORKER_MANAGER_{name}".upper(), words[0])
        else:
            table.append(f"{name} = {text!r}")
    read = worker_manager.COMMAND.parse([*argv, "-c", file("[[worker_manager]]\n" + "\n".join(table))])
    assert {name: getattr(read, name) for name in OF_KINDS[kind]} == {
        n: value for n, (_, value) in OF_KINDS[kind].items()
    }


def test_workers_elsewhere_cannot_reach_this_machine_by_its_own_name_for_itself(capsys):
    argv = ["-mw", "1", "--image-id", "i", "--instance-type", "t", "--aws-region", "r", "--aws-endpoint-url", HERE]
    said = []
    for address in (HERE, "tcp://10.0.0.1:8516"):
        worker_manager.main(["orb_aws_ec2", address, *argv, "--dry-run"])
        said.append(f"workers on other machines cannot reach {HERE}; say --worker-sch" in capsys.readouterr().out)
    assert said == [True, False]


def test_worker_managers_alone(file):
    parts = whole.read_parts(file(f"[worker_manager]\ntype='baremetal_native'\naddress='{HERE}'"))
    assert [part.command.section for part in parts] == ["worker_manager"]


@pytest.mark.parametrize("program", COMMANDS)
def test_help_teaches_and_flags_are_there_once(program, capsys):
    with pytest.raises(SystemExit) as ended:
        COMMANDS[program](["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for option in TABLES[program]:
        assert option.help
        assert (option.name.upper() if option.positional else option.flag) in shown
    flags = [option.short for option in TABLES[program] if option.short]
    assert len(flags) == len(set(flags))


def test_the_demo_has_help(capsys):
    with pytest.raises(SystemExit) as ended:
        whole.main(["demo", "--help"])
    assert ended.value.code == 0
    assert "standard library" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("tcp://127.0.0.1:1", True),
        ("tcp://127.8.8.8:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://localhost:1", True),
        ("tcp://0.0.0.0:1", False),
        ("tcp://[::]:1", False),
        ("tcp://10.0.0.1:1", False),
        ("tcp://example.org:1", False),
    ],
)
def test_who_can_reach_an_address(text, ours):
    where = Address.parse(text)
    assert is_loopback(where) == ours
    check_bind("ADDRESS", where, told(insecure=True))
    check_bind("ADDRESS", where, told(secret_file="secret"))
    check_bind("ADDRESS", None, told())
    if not ours:
        for open_to_all in (told(), told(tls_certificate="c", tls_require_client_certificate=True)):
            with pytest.raises(ConfigurationError, match="ADDRESS: other machines can reach"):
                check_bind("ADDRESS", where, open_to_all)


@pytest.mark.parametrize("name", ["metrics_address", "worker_metrics_address"])
def test_metrics_that_others_can_reach_take_a_secret(name):
    near, far = Address.parse("tcp://127.0.0.1:1"), Address.parse("tcp://0.0.0.0:1")
    for options in ({name: None}, {name: near}, {name: far, "insecure": True}, {name: far, "secret_file": "s"}):
        check_metrics(told(**options))
    with pytest.raises(ConfigurationError, match=f"--{name.replace('_', '-')}: other machines can reach"):
        check_metrics(told(**{name: far}))


def told(**security):
    """The options that check_bind looks at."""
    nothing = {"insecure": False, "secret_file": None, "tls_certificate": None, "tls_require_client_certificate": None}
    return Namespace(**{**nothing, **security})


def test_where_tls_is_spoken_takes_a_certificate_and_who_may_come():
    where = Address.parse("tls://10.0.0.1:1")
    with pytest.raises(ConfigurationError, match=r"--tls-certificate and --tls-key \(scaler make-certificate"):
        check_bind("ADDRESS", where, told(insecure=True))
    with pytest.raises(ConfigurationError, match="other machines can reach"):
        check_bind("ADDRESS", where, told(tls_certificate="c"))
    check_bind("ADDRESS", where, told(tls_certificate="c", tls_require_client_certificate=True))
    check_bind("ADDRESS", where, told(tls_certificate="c", secret_file="s"))
    check_bind("ADDRESS", Address.parse("tls://127.0.0.1:1"), told(tls_certificate="c"))


def test_ports_that_are_taken_are_passed_over():
    first = whole.free_ports(20000, 3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + 1))
        assert whole.free_ports(first, 3) > first


def test_scripts_are_what_they_say():
    project = Path(__file__).parents[2] / "pyproject.toml"
    scripts = tomllib.loads(project.read_text())["project"]["scripts"]
    for name, place in scripts.items():
        module, function = place.split(":")
        assert callable(getattr(importlib.import_module(module), function)), name
    assert scripts.keys() >= COMMANDS.keys()


def test_a_worker_is_not_started_by_hand():
    ended = subprocess.run([sys.executable, "-m", "scaler.worker"], check=False, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("places", [(), ("argument",), ("variable",), ("argument", "variable")])
def test_a_worker_takes_its_order_from_its_argument_or_the_environment(places):
    """The scheduler's address is one that a worker refuses at once, naming it."""
    worker = WorkerOptions(1, scheduler_address="none")
    template = WorkerTemplate(asdict(worker), "builtin", ("INFO", ("/dev/stdout",), None))
    order = WorkerOrder("w", 1)
    argument = [template.fill(order)] if "argument" in places else []
    told = (
        template.environment(order) if places == ("variable",) else {WORKER_ORDER: "{"} if "variable" in places else {}
    )
    ended = subprocess.run(
        [sys.executable, "-m", "scaler.worker", *argument],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **told},
    )
    assert ended.returncode == (1 if places else 2)
    if places:
        assert ended.stderr.startswith("the worker cannot start: 'none' is not an address")


def test_an_order_that_is_none_is_refused():
    command = [sys.executable, "-m", "scaler.worker"]
    env = {**os.environ, WORKER_ORDER: "{"}
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    assert ended.returncode == 2
    assert ended.stderr.startswith("the order of this worker, its argument or SCALER_WORKER_ORDER, is no JSON: ")


def test_the_demo_adds_up(tmp_path):
    (tmp_path / "a.py").write_text("import os, os.path\nclass A:\n    def f(self):\n        return os\n")
    (tmp_path / "b.py").write_text("from os import path\ndef g():\n    return path\n")
    (tmp_path / "c.py").write_text("def (:\n")
    found = [demo.analyse(str(path), path.name) for path in sorted(tmp_path.iterdir())]
    total = demo.conclude(demo.merge(*found))
    assert (total.files, total.unreadable, total.lines, total.functions, total.classes) == (3, 1, 7, 2, 1)
    assert total.imports == {"os": 2}
    assert total.names == {"os": 1, "path": 1}
    assert total.longest_files == [(4, "a.py"), (3, "b.py")]
    assert total.longest_functions == [(2, "b.py: g"), (2, "a.py: f")]
    assert "3 files, 1 of them not valid" in demo.report(total, 2, 4, 1.0)


@pytest.mark.parametrize("count", [1, demo.MERGE, demo.MERGE + 1, demo.MERGE**2 + 1])
def test_the_demo_merges_everything_once(count):
    graph = demo.merge_graph([demo.Summary(files=1)] * count)

    def compute(key):
        node = graph[key]
        return node[0](*map(compute, node[1:])) if isinstance(node, tuple) else node

    assert compute("all").files == count


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    make_secret(path)
    return path


def test_a_secret_allows_other_addresses(refused, secret, monkeypatch, tmp_path):
    assert "name a secret with --secret-file" in refused("scaler_scheduler", OPEN, "-osa", STORAGE)
    options = scheduler.COMMAND.parse([OPEN, "-osa", STORAGE, "--secret-file", str(secret)])
    scheduler.COMMAND.check_all(options)
    monkeypatch.setenv("SCALER_SECRET_FILE", str(secret))
    scheduler.COMMAND.check_all(scheduler.COMMAND.parse([OPEN, "-osa", STORAGE]))
    monkeypatch.delenv("SCALER_SECRET_FILE")
    config = tmp_path / "config.toml"
    config.write_text(f'[security]\nsecret_file = "{secret}"\n[scheduler]\n')
    scheduler.COMMAND.check_all(scheduler.COMMAND.parse([OPEN, "-osa", STORAGE, "--config", str(config)]))
    config.write_text('[security]\nsecret_fil = "x"\n')
    assert "unknown key 'secret_fil' in [security]; did you mean secret_file?" in refused(
        "scaler_scheduler", OPEN, "-osa", STORAGE, "--config", str(config)
    )
    missing = refused("scaler_scheduler", OPEN, "-osa", STORAGE, "--secret-file", str(tmp_path / "none"))
    assert "make one with: scaler make-secret" in missing


def told_of_security(*argv):
    """What workers are told, as JSON that may stand anywhere, and the options it was made of."""
    options = worker_manager.COMMAND.parse(argv)
    worker_manager.COMMAND.check_all(options)
    order = workers.template(options, "ann").fill(WorkerOrder("a", 1))
    return json.loads(order)["security"], order


def test_workers_are_told_where_the_secret_is(secret):
    for kind, more in (("baremetal_native", ()), ("slurm", ()), ("ssh", ("--hosts", "a"))):
        told, order = told_of_security(kind, HERE, "--secret-file", str(secret), *more)
        assert told == {"secret_file": str(secret)}
        assert secret.read_text().strip() not in order
    there = ("--worker-security-directory", "/etc/scaler")
    told, _ = told_of_security("ssh", HERE, "--secret-file", str(secret), "--hosts", "a", *there)
    assert told == {"secret_file": "/etc/scaler/secret"}
    pods = ("kubernetes", HERE, "--image", "x", "-mtc", "4", "--secret-file", str(secret))
    told, _ = told_of_security(*pods, "--security-secret", "scaler")
    assert told == {"secret_file": "/etc/scaler/security/secret"}
    assert told_of_security("baremetal_native", HERE)[0] == {}


def test_workers_are_told_of_tls_and_ask_nobody(certificates, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(
        f"""[security]
tls-ca = "{certificates / "ca.pem"}"
tls_certificate = "{certificates / "client.pem"}"
tls_key = "{certificates / "client-key.pem"}"
tls_require_client_certificate = true
tls_server_name = "node5.example"
"""
    )
    there = ("--worker-security-directory", "/etc/scaler", "--config", str(config))
    told, _ = told_of_security("ssh", "tls://10.0.0.5:8516", "--hosts", "a", *there)
    names = {"tls_ca": "ca.pem", "tls_certificate": "client.pem", "tls_key": "client-key.pem"}
    assert told == {**{key: f"/etc/scaler/{name}" for key, name in names.items()}, "tls_server_name": "node5.example"}


def test_files_of_tls_are_looked_at_before_anything_starts(refused, certificates):
    assert "No such file" in refused("scaler_scheduler", HERE, "-osa", STORAGE, "--tls-ca", "/none/ca.pem")
    assert "go together" in refused("scaler_scheduler", HERE, "-osa", STORAGE, "--tls-key", "/none/key.pem")
    tls = HERE.replace("tcp", "tls")
    assert "--tls-certificate and --tls-key" in refused("scaler_scheduler", tls, "-osa", STORAGE)


def test_workers_that_could_not_have_the_secret(secret):
    with pytest.raises(ConfigurationError, match="say --security-secret scaler"):
        told_of_security("kubernetes", HERE, "--image", "x", "-mtc", "4", "--secret-file", str(secret))
    options = worker_manager.COMMAND.parse(["baremetal_native", HERE, "--secret-file", str(secret)])
    options.type = "aws_raw_ecs"
    with pytest.raises(ConfigurationError, match="put these files into the image, and say --worker-security-directory"):
        workers.template(options, "ann")
