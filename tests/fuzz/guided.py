"""``python -m tests.fuzz.guided`` looks for inputs that the targets cannot stand, led by what they reach of Python and C code.

libFuzzer does, by way of atheris; the extensions are built by clang with the sanitizers of addresses and undefined behaviour,
into a tree of their own. What it finds is written to build/fuzz, and shown. Exit code 1 if anything was found.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import corpus
from .targets import TARGETS

TOP = Path(__file__).parents[2]
BUILD = TOP / "build" / "fuzz"
TREE = BUILD / "sanitized"
SANITIZE = (
    "-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g"
    # What Cython's own code does everywhere: functions called by a pointer of another type, nothing added to null.
    " -fno-sanitize=function,pointer-overflow"
)


class NotPreparedError(Exception):
    """What is missing on this machine, and how to get it."""


def build() -> None:
    """The sanitized tree, where it is older than a source. Raises NotPreparedError."""
    clang = next(filter(None, map(shutil.which, ("clang", *(f"clang-{n}" for n in range(20, 13, -1))))), None)
    if clang is None:
        raise NotPreparedError("there is no clang here: apt-get install clang, or go without sanitizers: --plain")
    stamp = TREE / ".built"
    sources = [
        path
        for pattern in ("scaler/**/*.py", "scaler/**/*.pyx", "scaler/**/*.pxd", "protocol/*.capnp")
        for path in TOP.glob(pattern)
    ]
    if stamp.exists() and all(path.stat().st_mtime < stamp.stat().st_mtime for path in sources):
        return
    print(f"building the extensions by {clang} with sanitizers, into {TREE.relative_to(TOP)}", flush=True)
    command = [
        sys.executable,
        "setup.py",
        "-q",
        "build",
        "--build-base",
        str(BUILD / "objects"),
        "--build-lib",
        str(TREE),
    ]
    environment = {**os.environ, "CC": clang, "LDSHARED": f"{clang} -shared", "CFLAGS": SANITIZE, "OPT": ""}
    subprocess.run([*command, "build_ext", "--parallel", "2"], cwd=TOP, env=environment, check=True)
    stamp.touch()


def environment_of(plain: bool) -> dict[str, str]:
    """For a process that fuzzes: which tree is imported, and the sanitizers' runtime before everything else."""
    told = {**os.environ, "PYTHONPATH": str(TOP)}
    if plain:
        return told
    import atheris

    runtime = Path(atheris.path()) / "asan_with_fuzzer.so"
    told |= {
        "PYTHONPATH": f"{TREE}:{TOP}",
        "LD_PRELOAD": f"{runtime} {_libstdcxx()}",
        # Python's own allocator would hide where bytes objects end.
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_segv=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }
    return told


def _libstdcxx() -> str:
    """The sanitizer has to find it before what throws exceptions is loaded."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"libstdc\+\+\.so\.6 .*=> (\S+)", listed)
    return found.group(1) if found else ""


def fuzz(target: str, seconds: int, plain: bool, keep: bool) -> bool:
    """Look for so long, in a process of its own; returns whether nothing was found."""
    known = BUILD / "corpus" / target
    known.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate([*corpus.kept(target), *corpus.seeds(target)]):
        (known / f"seed-{number}").write_bytes(one)
    arguments = [f"-max_total_time={seconds}", "-timeout=25", "-rss_limit_mb=3000", "-max_len=4096", "-verbosity=1"]
    arguments += [f"-artifact_prefix={BUILD / target}-", "-print_final_stats=1", str(known)]
    good, said = _child(target, arguments, plain)
    runs = re.findall(r"stat::number_of_executed_units:\s*(\d+)", said) or re.findall(r"^#(\d+)", said, re.M)
    reached = re.findall(r"cov: (\d+)", said) or ["0"]
    memory = re.findall(r"stat::peak_rss_mb:\s*(\d+)", said) or ["?"]
    print(
        f"{target}: {int(runs[-1]) if runs else 0:,} inputs, {int(reached[-1]):,} places reached, {memory[-1]} MiB at most, "
        f"{'nothing found' if good else 'FAILED'}",
        flush=True,
    )
    if not good:
        print(_story(said), flush=True)
    elif keep:
        with tempfile.TemporaryDirectory() as fewest:
            _child(target, ["-merge=1", "-max_len=4096", fewest, str(known)], plain)
            corpus.keep(target, [path.read_bytes() for path in Path(fewest).iterdir()])
    return good


def _story(said: str) -> str:
    """What went wrong, without the frames of the interpreter below it."""
    lines = said.splitlines()
    begins = [
        n for n, line in enumerate(lines) if re.search(r"runtime error:|ERROR:|Uncaught Python exception|Error:", line)
    ]
    first = begins[0] if begins else max(0, len(lines) - 40)
    last = [line for line in lines[first + 40 :] if "Test unit written" in line or line.startswith("Base64")]
    return "\n".join([*lines[first : first + 40], *last])


def _child(target: str, arguments: list[str], plain: bool) -> tuple[bool, str]:
    # -P: the tree of the sources, where this is called from, would come before the sanitized one.
    command = [sys.executable, "-P", "-m", "tests.fuzz.child", target, *arguments]
    done = subprocess.run(
        command,
        cwd=BUILD,
        env=environment_of(plain),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode == 0, done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=30, help="for each target (default: 30)")
    parser.add_argument(
        "--plain", action="store_true", help="without sanitizers and clang: the Python code leads alone"
    )
    parser.add_argument("--keep", action="store_true", help="write what reached more into tests/fuzz/corpus")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        if not arguments.plain:
            build()
    except NotPreparedError as error:
        print(error, file=sys.stderr)
        return 2
    good = [fuzz(name, arguments.seconds, arguments.plain, arguments.keep) for name in arguments.targets or TARGETS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
