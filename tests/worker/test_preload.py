"""Preloads are read without importing anything, and run as written."""

from __future__ import annotations

import sys

import pytest

from scaler.worker.preload import Preload, parse_preload

made: list[tuple[object, ...]] = []


class Model:
    @staticmethod
    def load(*args: object, **kwargs: object) -> None:
        made.append((*args, kwargs))


@pytest.mark.parametrize(
    ("text", "preload"),
    [
        ("json:dumps", Preload("json", ("dumps",))),
        ("package.module:setup()", Preload("package.module", ("setup",))),
        ("package.module: setup('production')", Preload("package.module", ("setup",), ("production",))),
        (
            "m:C.make(1, -2.5, [None, {'a': (True, b'b')}])",
            Preload("m", ("C", "make"), (1, -2.5, [None, {"a": (True, b"b")}])),
        ),
        ("m:f(1, key='a:b')", Preload("m", ("f",), (1,), {"key": "a:b"})),
    ],
)
def test_what_is_read(text: str, preload: Preload) -> None:
    assert parse_preload(text) == preload


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "write package.module:function"),
        ("json", "write package.module:function"),
        (":f", "write package.module:function"),
        ("a-b:f", "write package.module:function"),
        ("../x:f", "write package.module:function"),
        ("m:", "'' is no function"),
        ("m:f(", "is no function, and no call of one"),
        ("m:f; g", "is no function, and no call of one"),
        ("m:3", "is no function of m"),
        ("m:f()()", "is no function of m"),
        ("m:f().g", "is no function of m"),
        ("m:lambda: 1", "is no function of m"),
        ("m:f(x)", "x is no literal"),
        ("m:f(open('x'))", "is no literal"),
        ("m:f(*[1])", "is no literal"),
        ("m:f(**{'a': 1})", "without "),
        ("m:f(key=g())", r"g\(\) is no literal"),
        ("m:f({[]: 1})", "is no literal"),
        ("m:f\0", "is no function"),
    ],
)
def test_what_is_none(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_preload(text)
    assert "\n" not in str(caught.value)


def test_reading_imports_nothing() -> None:
    parse_preload("antigravity:fly()")
    assert "antigravity" not in sys.modules


def test_running() -> None:
    made.clear()
    parse_preload(f"{__name__}:Model.load('a', n=2)").run()
    assert made == [("a", {"n": 2})]


def test_what_is_not_there() -> None:
    with pytest.raises(ModuleNotFoundError):
        parse_preload("no_such_module:f").run()
    with pytest.raises(AttributeError):
        parse_preload("json:no_such_function").run()
