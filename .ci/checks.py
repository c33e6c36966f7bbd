"""Checks that no other tool makes: the layout of the tree, and that every field of the schemas is explained.

Run from the top of the checkout. Prints what is wrong, a line each; exit code 1 if anything is.
"""

import re
import sys
from pathlib import Path

TOP = {"protocol", "scaler", "tests", "benchmarks", "docs"}
SAY_NOTHING = {"utils", "util", "common", "helpers", "helper", "mixins", "base", "managers", "controllers", "misc"}
LONGEST_FILE = 650


def layout() -> list[str]:
    """Names that say something, and files that are one thing."""
    wrong = [f"{name}/ is missing" for name in sorted(TOP) if not Path(name).is_dir()]
    for path in sorted(Path("scaler").rglob("*")):
        if path.suffix not in (".py", ".pyx", "") or "__pycache__" in path.parts or path.name == "py.typed":
            continue
        if path.stem in SAY_NOTHING:
            wrong.append(f"{path}: a name that says nothing; name it for what it is")
        if path.is_file() and path.read_text().count("\n") > LONGEST_FILE:
            wrong.append(f"{path}: more than {LONGEST_FILE} lines; which two things is it?")
    for path in sorted(Path("scaler/_core").glob("*.pyx")):
        wrong += [f"{path.with_suffix(end)} is missing" for end in (".pyi", ".pxd") if _needs(path, end)]
    return wrong


def _needs(path: Path, end: str) -> bool:
    """``columns`` has no Python face; modules of nothing but functions need no declarations."""
    if path.with_suffix(end).exists() or (end == ".pyi" and path.stem == "columns"):
        return False
    return end == ".pyi" or "cdef class" in path.read_text()


def schema_comments() -> list[str]:
    """Each struct and each enum says what it is for; ids, units and columns say what they hold."""
    wrong = []
    for path in sorted(Path("protocol").glob("*.capnp")):
        lines = path.read_text().splitlines()
        if len(lines) < 3 or not lines[2 if lines[1].startswith("#") else 1].startswith("#"):
            wrong.append(f"{path}:1: no preamble")
        for number, line in enumerate(lines, 1):
            following = lines[number] if number < len(lines) else ""
            explained = following.strip().startswith("#")
            if re.match(r"\s*(struct|enum) \w+ \{$", line) and not explained and "union {" not in following:
                wrong.append(f"{path}:{number}: {line.split()[1]} is not explained")
            if re.search(r":Data;$", line) and not explained and not _follows_a_twin(lines, number):
                wrong.append(f"{path}:{number}: {line.split()[0]}: what do these bytes hold?")
    return wrong


def _follows_a_twin(lines: list[str], number: int) -> bool:
    """A field whose neighbour has the same name, or means the same, is explained there."""
    return lines[number - 1].split()[0] in {"object", "owner"}


def versions() -> list[str]:
    """The schemas are all listed in protocol/README.md."""
    text = Path("protocol/README.md").read_text()
    return [
        f"protocol/README.md does not mention {p.name}" for p in Path("protocol").glob("*.capnp") if p.name not in text
    ]


if __name__ == "__main__":
    found = layout() + schema_comments() + versions()
    print("\n".join(found) if found else "layout and schema comments: good")
    sys.exit(1 if found else 0)
