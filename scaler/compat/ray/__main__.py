"""``python -m scaler.compat.ray program.py [arguments]``: run a program written for Ray as it is."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from scaler.compat.ray import install


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: python -m scaler.compat.ray program.py [arguments]")
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent.resolve())
    install()
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
