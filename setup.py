"""Builds the Cython extensions of scaler/_core, scaler/wire and scaler/storage; everything else stands in pyproject.toml."""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CCompilerError, ExecError, PlatformError

DEBUG = os.environ.get("SCALER_CORE_DEBUG") == "1"
DIRECTIVES = {
    "language_level": "3",
    "boundscheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
    "autotestdict": False,
    "auto_pickle": False,
    "initializedcheck": DEBUG,
}


class BuildOrExplain(build_ext):
    """Ends with one message where there is no C compiler."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except (CCompilerError, ExecError, PlatformError, FileNotFoundError) as error:
            sys.exit(
                f"\nScaler needs a C compiler to build {ext.name}, and it did not work here: {error}\n"
                "Install one and try again: 'apt-get install gcc python3-dev' on Debian and Ubuntu, "
                "'dnf install gcc python3-devel' on Fedora, 'xcode-select --install' on macOS.\n"
            )


extensions = [
    Extension(".".join(path.with_suffix("").parts), [str(path)], extra_compile_args=["-O1", "-g"] if DEBUG else ["-O3"])
    for path in sorted(
        path for package in ("_core", "wire", "storage") for path in Path("scaler", package).glob("*.pyx")
    )
]
setup(
    # The schemas stand at the top of the tree, where no search finds them as a package.
    packages=[*find_packages(include=["scaler", "scaler.*"]), "scaler.protocol"],
    ext_modules=cythonize(extensions, compiler_directives=DIRECTIVES, quiet=True),
    cmdclass={"build_ext": BuildOrExplain},
)
