"""Paths and Enums are stored as their texts and values; what cannot be stored is refused with what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy
import pydantic
import pytest

from docshelf import ArgumentTypeError, Item, UnsupportedValueError, canonical_bytes
from tests.conftest import on_sqlite
from tests.support.face import Face


class Kind(enum.Enum):
    """An Enum of text and of numbers."""

    GUIDE = "guide"
    SECOND = 2


class Color(str, enum.Enum):
    """An Enum that is text itself."""

    RED = "red"


class Unfit(enum.Enum):
    """An Enum of what cannot be stored."""

    THING = object()


PLAIN: list[tuple[Any, Any]] = [
    (PurePosixPath("a/b.md"), "a/b.md"),
    (PureWindowsPath(r"c:\a\b.md"), "c:/a/b.md"),
    (Path("a"), "a"),
    (Kind.GUIDE, "guide"),
    (Kind.SECOND, 2),
    (Color.RED, "red"),
]


@pytest.mark.parametrize(("given", "stored"), PLAIN, ids=lambda value: type(value).__name__)
def test_paths_and_enums_are_stored_as_plain_values(face: Face, given: Any, stored: Any) -> None:
    value = {"here": given, "list": [given], "tuple": (given,), given: "as a key"}
    plain = {"here": stored, "list": [stored], "tuple": (stored,), stored: "as a key"}
    assert canonical_bytes(value) == canonical_bytes(plain)
    face.set("k", value)
    assert face.get("k") == plain
    assert face.conditional_set("k", plain) == ("k", "SKIP")


@pytest.mark.parametrize(("given", "source"), [pair for pair in PLAIN if isinstance(pair[1], str)])
def test_a_path_and_an_enum_of_text_name_a_source(face: Face, given: Any, source: str) -> None:
    face.sync({"k": 1}, source=given, fingerprint="f")
    assert [one.source for one in face.sources()] == [source]
    assert face.get("k", source=given) == 1
    assert not face.source_changed(given, "f")
    assert face.conditional_mset([Item("k", 1, given)]).counts["SKIP"] == 1
    assert len(face.delete_source(given)) == 1


class Deep(enum.Enum):
    """An Enum of what cannot be a key."""

    LIST = [1]  # noqa: RUF012


@pytest.mark.parametrize(
    ("value", "problem"),
    [({Kind.GUIDE: 1, "guide": 2}, "two keys, one of them a path or an Enum"), ({Deep.LIST: 1}, "cannot be a key")],
)
def test_keys_that_would_be_lost_are_refused(face: Face, value: Any, problem: str) -> None:
    with pytest.raises(UnsupportedValueError, match=f"key 'k': metadata: {problem}|metadata: .*{problem}"):
        face.set("k", {"metadata": value})
    assert not face.exists("k")


def test_an_enum_that_is_no_text_names_no_source(face: Face) -> None:
    with pytest.raises(ArgumentTypeError, match="the source 2 of the key 'k' is a int"):
        face.set("k", 1, source=Kind.SECOND)


@dataclass
class Point:
    """A dataclass."""

    x: int = 1


class Model(pydantic.BaseModel):
    """A pydantic model."""

    x: int = 1


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (numpy.zeros(3), "use .tolist()"),
        (Model(), "use .model_dump()"),
        (Point(), "use dataclasses.asdict(...)"),
        (range(3), "use list(...)"),
        (bytearray(b"x"), "use bytes(...)"),
        (Unfit.THING, "use str(...)"),
        (1j, "use str(...)"),
        (Kind, "use list(...)"),
    ],
    ids=lambda value: type(value).__name__,
)
@on_sqlite
def test_what_cannot_be_stored_is_refused_with_what_to_do(face: Face, value: Any, remedy: str) -> None:
    with pytest.raises(UnsupportedValueError) as error:
        face.set("k", {"metadata": {"v": value}})
    assert str(error.value).startswith("key 'k': metadata.v: cannot store a ")
    assert str(error.value).endswith(f"; {remedy}")
    assert not face.exists("k")
