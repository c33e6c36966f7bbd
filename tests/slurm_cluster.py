"""A Slurm of one machine, of this moment: munged, slurmctld and slurmd on free ports, with all they write in one directory."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
SECONDS = 30.0
ENVIRONMENT = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}


def missing() -> str:
    """Why there can be no Slurm here; empty if there can."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=ENVIRONMENT["PATH"]) is None]
    if lacking:
        return f"there is no {', '.join(lacking)} here"
    return "" if os.getuid() == 0 else "slurmd wants to be root"


@contextmanager
def slurm(where: Path, cpus: int, partitions: Sequence[str] = ("main",)) -> Iterator[dict[str, str]]:
    """Yields what has to be in the environment of Slurm's commands. The first partition is the default one."""
    file = where / "slurm.conf"
    environment = {**os.environ, **ENVIRONMENT, "SLURM_CONF": str(file)}
    (where / "munge.key").write_bytes(os.urandom(128))
    (where / "munge.key").chmod(0o400)
    file.write_text(_configuration(where, cpus, partitions))
    with ExitStack() as daemons:
        munged = ["munged", "-F", "--force", "--key-file", where / "munge.key", "--socket", where / "munge.socket"]
        munged += ["--pid-file", where / "munge.pid", "--log-file", where / "munge.log", "--seed-file", where / "seed"]
        for command in (munged, ["slurmctld", "-D"], ["slurmd", "-D", "-N", socket.gethostname().partition(".")[0]]):
            daemons.enter_context(_running(command, environment, where))
        _until_idle(environment)
        yield {name: environment[name] for name in ("PATH", "SLURM_CONF")}
        subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, check=False)


@contextmanager
def _running(command: Sequence[str | Path], environment: dict[str, str], where: Path) -> Iterator[None]:
    with (where / f"{command[0]}.out").open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until_idle(environment: dict[str, str]) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        shown = subprocess.run(
            ["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True, check=False
        )
        if shown.stdout.split()[:1] == ["idle"]:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"Slurm does not start: {shown.stdout} {shown.stderr}")
        time.sleep(0.05)


def _configuration(where: Path, cpus: int, partitions: Sequence[str]) -> str:
    host = socket.gethostname().partition(".")[0]
    ports = _free_ports(2)
    settings = {
        "ClusterName": "one",
        "SlurmctldHost": f"{host}(127.0.0.1)",
        "SlurmctldPort": ports[0],
        "SlurmdPort": ports[1],
        "SlurmUser": getpass.getuser(),
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        "AuthInfo": f"socket={where}/munge.socket",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU",
        "SchedulerParameters": "sched_interval=1,sched_min_interval=50000,batch_sched_delay=0",
        "MpiDefault": "none",
        "ReturnToService": 2,
        "SlurmdParameters": "config_overrides",
        "StateSaveLocation": where / "state",
        "SlurmdSpoolDir": where / "spool",
        "SlurmctldPidFile": where / "slurmctld.pid",
        "SlurmdPidFile": where / "slurmd.pid",
        "SlurmctldLogFile": where / "slurmctld.log",
        "SlurmdLogFile": where / "slurmd.log",
        "KillWait": 5,
        "MinJobAge": 60,
    }
    lines = [f"{name}={value}" for name, value in settings.items()]
    lines.append(f"NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN")
    for number, name in enumerate(partitions):
        lines.append(f"PartitionName={name} Nodes={host} Default={'NO' if number else 'YES'} State=UP MaxTime=INFINITE")
    return "\n".join(lines) + "\n"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]
