"""One process that fuzzes one target: ``guided`` starts it. ``python -m tests.fuzz.child TARGET [option of libFuzzer ...]``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["scaler"], enable_loader_override=False):
    from .targets import MUTATORS, TARGETS


def main() -> None:
    target, *arguments = sys.argv[1:]
    mutate = MUTATORS.get(target)

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        if mutate is None or seed % 3 == 0:
            return bytes(atheris.Mutate(data, most))
        return mutate(data, seed)[:most]

    if mutate is None:
        atheris.Setup(["fuzz", *arguments], TARGETS[target])
    else:
        atheris.Setup(["fuzz", *arguments], TARGETS[target], custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
