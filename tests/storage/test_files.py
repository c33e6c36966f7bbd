"""Files in shared memory count once."""

from __future__ import annotations

from scaler.storage.files import Files


def test_a_file_counts_for_its_first_holder() -> None:
    files: Files[str] = Files()
    assert files.enter("a", (("x", 10), ("y", 5))) == 15
    assert files.enter("b", (("y", 5), ("z", 1))) == 1
    assert files.enter("c", ()) == 0


def test_a_file_is_inherited_until_nobody_has_it() -> None:
    files: Files[str] = Files()
    files.enter("a", (("x", 10), ("y", 5)))
    files.enter("b", (("x", 10),))
    files.enter("c", (("x", 10),))
    assert files.leave("b", (("x", 10),)) == []
    assert files.leave("a", (("x", 10), ("y", 5))) == [("c", 10)]
    assert files.leave("c", (("x", 10),)) == []
    assert files.enter("d", (("x", 10),)) == 10
