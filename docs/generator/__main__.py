"""``python -m docs.generator [--output DIRECTORY]``: the site, from the top of a checkout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs.generator import site

TOP = Path(__file__).resolve().parents[2]


def main() -> int:
    """The entry point; returns the exit code."""
    parser = argparse.ArgumentParser("python -m docs.generator", description="Make the site of the documentation.")
    parser.add_argument("--output", type=Path, default=TOP / "build/docs", help="where; below it, html/ is the site")
    output = parser.parse_args().output.resolve()
    code = site.build(TOP, output)
    if code == 0:
        print(f"the documentation: {output / 'html/index.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
