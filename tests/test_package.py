"""The package: what it says of itself, what is in it, and that it works where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from scaler.cli.main import COMMANDS

TOP = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
OF_THE_PROJECT = {"all", "bench", "dev", "docs", "fuzz"}
EXTENSIONS = ("_core", "wire", "storage")


def test_the_extra_all_has_those_of_users():
    (whole,) = EXTRAS["all"]
    named = re.fullmatch(r"opengris-scaler\[(.*)\]", whole)
    assert named and set(named[1].split(",")) == EXTRAS.keys() - OF_THE_PROJECT
    assert {"gui", "graphblas", "s3", "aws", "kubernetes", "slurm", "otel"} <= EXTRAS.keys()


def test_extras_that_messages_and_documentation_name_exist():
    pages = [TOP / "README.md", *TOP.glob("docs/*.md"), *TOP.glob("scaler/**/*.py")]
    named = {
        extra
        for page in pages
        for names in re.findall(r"opengris-scaler\[([\w,]+)\]", page.read_text())
        for extra in names.split(",")
    }
    assert {"gui", "tls"} <= named <= EXTRAS.keys()


def test_the_documentation_lists_the_extras():
    listed = re.findall(r"^\| `(\w+)` \|", (TOP / "docs" / "installing.md").read_text(), re.MULTILINE)
    assert [*listed[1:]] == sorted(EXTRAS.keys() - OF_THE_PROJECT) and listed[0] == "all"


def test_each_command_is_installed_and_leads_somewhere():
    scripts = metadata.entry_points(group="console_scripts")
    ours = {entry.name: entry for entry in scripts if entry.value.startswith("scaler.")}
    assert ours.keys() == PROJECT["scripts"].keys() == {"scaler", *(command.program for command in COMMANDS.values())}
    assert all(callable(entry.load()) for entry in ours.values())


def test_wheels_for_both_architectures():
    """By cibuildwheel itself, which reads its configuration."""
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", "linux"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=TOP).stdout.split()
    assert {"cp311-manylinux_x86_64", "cp311-manylinux_aarch64"} <= {*shown}
    assert all(re.fullmatch(r"cp3\d\d-manylinux_(x86_64|aarch64)", name) for name in shown)
    test = PYPROJECT["tool"]["cibuildwheel"]["test-command"].replace("{package}", str(TOP))
    assert Path(test.split()[-1]).is_file()


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files of the repository."""
    if not (TOP / ".git").exists():
        pytest.skip("this is no checkout of the repository")
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True, cwd=TOP).stdout
    return [name for name in listed.split("\0") if name and (TOP / name).exists()]


def compiled(tree: Path) -> None:
    """Give a tree what was compiled here, so that this need not take a minute: as of now, newer than Cython."""
    library = tree / "build" / f"lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    for package in EXTENSIONS:
        for path in (TOP / "scaler" / package).glob("*.c"):
            shutil.copy(path, tree / "scaler" / package)
        (library / "scaler" / package).mkdir(parents=True)
        for path in (TOP / "scaler" / package).glob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
            shutil.copy(path, library / "scaler" / package)


def build(tree: Path, what: str, into: Path) -> Path:
    command = [sys.executable, "-m", "build", what, "--no-isolation", "--skip-dependency-check", "--outdir", into, tree]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = into.glob("*.tar.gz" if what == "--sdist" else "*.whl")
    return made


@pytest.fixture(scope="module")
def sdist(tracked, tmp_path_factory) -> Path:
    tree = tmp_path_factory.mktemp("tree")
    for name in tracked:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, tree / name)
    compiled(tree)
    return build(tree, "--sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """Of the sdist."""
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as file:
        file.extractall(place, filter="data")
    (tree,) = place.iterdir()
    compiled(tree)
    return build(tree, "--wheel", tmp_path_factory.mktemp("wheel"))


def test_the_sdist_has_what_the_repository_has(sdist, tracked):
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames() if not file.getmember(name).isdir()}
    made = {name for name in names if "egg-info" in name} | {"PKG-INFO", "setup.cfg"}
    assert names - made == {*tracked}


def test_the_wheel_has_the_package_alone(wheel, tracked):
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {name for name in tracked if name.startswith("scaler/") and not name.endswith(".pyx")}
    schemas = {f"scaler/{name}" for name in tracked if re.fullmatch(r"protocol/\w+\.(capnp|md)", name)}
    sources = {name.removesuffix(".pyx") for name in tracked if name.endswith(".pyx")}
    extensions = {name + sysconfig.get_config_var("EXT_SUFFIX") for name in sources}
    assert {name for name in names if ".dist-info/" not in name} == ours | schemas | extensions


def test_checkers_of_packages_find_nothing(sdist, wheel):
    for words in (["twine", "check", "--strict", sdist, wheel], ["check_wheel_contents", wheel]):
        module, *arguments = map(str, words)
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=TOP)
        assert done.returncode == 0, done.stdout + done.stderr


def test_it_works_where_it_is_installed(wheel, tmp_path):
    """In an environment of its own, with this one's packages that it needs."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(install, check=True, capture_output=True)
    (site,) = (tmp_path / "venv").glob("lib/*/site-packages")
    # Paths alone: what a .pth file there does, as that of this checkout, is not done.
    (site / "needed.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    command = [python, TOP / "tests" / "installed.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
