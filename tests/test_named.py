from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

import pytest

from scaler.errors import FunctionNotAllowedError, FunctionNotFoundError
from scaler.named import AllowedFunctions, NamedFunction, check_path, check_pattern, find


@pytest.fixture
def pricing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of a user, which imports others and what they define."""
    code = """
import os, math
from os import system
from fnmatch import fnmatch as borrowed
from functools import partial
LIMIT = 3
bound = partial(pow, 2)
def value(x): return x + 1
class Model:
    @classmethod
    def of(cls, x): return x * 2
    tool = os
"""
    module = ModuleType("tests_pricing.model")
    exec(code, vars(module))
    monkeypatch.setitem(sys.modules, "tests_pricing", ModuleType("tests_pricing"))
    monkeypatch.setitem(sys.modules, "tests_pricing.model", module)
    return module


def test_paths_name_functions_and_what_classes_have(pricing: ModuleType) -> None:
    assert find("math:sqrt") is math.sqrt
    assert find("tests_pricing.model:value")(1) == 2
    assert find("tests_pricing.model:Model.of")(4) == 8
    assert NamedFunction("math:sqrt", "json")(4) == 2.0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("math", "'math' names no function; write package.module:function"),
        ("math:", "names no function"),
        (":sqrt", "names no function"),
        ("math:sqrt()", "names no function"),
        ("../x:y", "names no function"),
        ("tests_nowhere:f", "tests_nowhere cannot be imported: ModuleNotFoundError"),
        ("math:nothing", "math has no 'nothing'"),
        ("math:pi", "is a float, and cannot be called"),
        ("tests_pricing.model:os.system", "tests_pricing.model:os is a module, no class"),
        ("tests_pricing.model:value.__globals__", "is a function, no class"),
        ("tests_pricing.model:Model.tool.system", "tests_pricing.model:Model.tool is a module, no class"),
    ],
)
def test_what_a_path_does_not_name_is_told(pricing: ModuleType, path: str, text: str) -> None:
    with pytest.raises(FunctionNotFoundError, match=text.replace("(", r"\(")):
        find(path)


def test_a_malformed_path_is_noticed_where_it_is_given() -> None:
    with pytest.raises(ValueError, match="names no function"):
        check_path("math.sqrt")


@pytest.mark.parametrize(
    "path", ["math:sqrt", "tests_pricing.model:value", "tests_pricing.model:Model.of", "os:getpid"]
)
def test_what_a_pattern_matches_is_allowed(pricing: ModuleType, path: str) -> None:
    pricing.value.__module__ = pricing.Model.__module__ = "tests_pricing.model"
    assert callable(AllowedFunctions(["math:sqrt", "tests_pricing.*", "os:getpid"]).find(path))


@pytest.mark.parametrize(
    "path", ["math:sin", "os:system", "tests_pricing:value", "math:sqrt.x", "fnmatch:fnmatch", "nonsense", ""]
)
def test_what_no_pattern_matches_is_not_even_imported(
    pricing: ModuleType, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.import_module", None)
    with pytest.raises(
        FunctionNotAllowedError, match=r"may not be called .* --allow-functions math:sqrt tests_pricing\.\*"
    ):
        AllowedFunctions(["math:sqrt", "tests_pricing.*"]).find(path)


@pytest.mark.parametrize("name", ["system", "borrowed", "partial", "bound"])
def test_what_a_module_only_imports_is_not_meant_by_a_pattern(pricing: ModuleType, name: str) -> None:
    path = f"tests_pricing.model:{name}"
    with pytest.raises(FunctionNotAllowedError, match="written out in full it is allowed"):
        AllowedFunctions(["tests_pricing.*"]).find(path)
    assert AllowedFunctions([path]).find(path) is getattr(pricing, name)


def test_nothing_is_unpickled_where_only_names_are_allowed() -> None:
    with pytest.raises(FunctionNotAllowedError, match="function f was sent as code"):
        AllowedFunctions(["math:sqrt"]).check_pickled("f")


@pytest.mark.parametrize("pattern", ["*", "math:*", "mypackage.*", "a.b:C.d", "pack?ge.[ab]*"])
def test_patterns(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize("pattern", ["", "math", "a b", "math:sqrt,math:sin", "math:sqrt(2)"])
def test_malformed_patterns(pattern: Any) -> None:
    with pytest.raises(ValueError, match=r"names? no function|no pattern of function names"):
        check_pattern(pattern)
