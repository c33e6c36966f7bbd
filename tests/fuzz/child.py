"""One process that fuzzes one target: ``guided`` starts it. ``python -m tests.fuzz.child TARGET [option of libFuzzer ...]``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["scaler"], enable_loader_override=False):
    from .targets import MUTATORS, TARGETS


def main() -> None:
    target, *arguments = sys.argv[1:]
    # libFuzzer has the shell start it by this name when it merges.
    name = f"{sys.executable} -P -m tests.fuzz.child {target}"
    mutate = MUTATORS.get(target)

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        if mutate is None or seed % 3 == 0:
            return bytes(atheris.Mutate(data, most))
        return mutate(data, seed)[:most]

    if mutate is None:
        atheris.Setup([name, *arguments], TARGETS[target])
    else:
        atheris.Setup([name, *arguments], TARGETS[target], custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
