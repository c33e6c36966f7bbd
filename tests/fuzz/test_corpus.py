"""The inputs that fuzzing kept, and the protocol's vectors, without sanitizers: ``make fuzz`` has them."""

from __future__ import annotations

import pytest

from . import corpus
from .states import SUBJECTS
from .targets import MUTATORS, TARGETS, steps, written


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_once_stays_mended(target: str) -> None:
    inputs = [*corpus.kept(target), *corpus.seeds(target)]
    assert len(inputs) > 10
    for one in inputs:
        try:
            TARGETS[target](one)
        except Exception as error:
            raise AssertionError(f"{target} cannot stand {one.hex()}") from error


def test_the_corpus_is_small() -> None:
    assert {path.name for path in corpus.DIRECTORY.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in corpus.DIRECTORY.iterdir()) < 300_000


@pytest.mark.parametrize("target", SUBJECTS)
def test_what_is_mutated_makes_sense_to_a_reader(target: str) -> None:
    """What is said in it is read by the conversation of some role."""
    data = b""
    for seed in range(50):
        data = MUTATORS[target](data, seed)
    told = list(steps(data))
    assert written(told) == data
    said = [message for _, _, message in told if message]
    hears = [SUBJECTS[target].hears(role) for role in SUBJECTS[target].roles]
    assert len(said) > 10
    assert all(any(_reads(union, message) for union in hears) for message in said)


def _reads(union: object, message: bytes) -> bool:
    try:
        union.decode(message)  # type: ignore[attr-defined]
    except Exception:
        return False
    return True


def test_a_corpus_file_is_its_inputs(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "DIRECTORY", tmp_path)
    assert corpus.kept("frames") == []
    corpus.keep("frames", [b"", b"two", bytes(corpus.LARGEST_BYTES + 1), b"a", b"two"])
    assert corpus.kept("frames") == [b"", b"a", b"two"]
