"""Files that are an object of objects, read entry by entry, wherever a block of the file ends."""

from __future__ import annotations

import json
import random
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from docshelf import BadFileError
from docshelf.moving import json_sections

# The package has the function under the name of the module.
MODULE = import_module("docshelf.moving.json_sections")
SECTIONS: dict[str, dict[str, Any]] = {
    "docstore/data": {"a": {"text": 'quote " and \\ and é\n', "n": [1, -2.5e3, True, None]}, "": {}, "b": [[], {}]},
    "empty": {},
    "numbers": {"one": 1, "long": 123_456_789, "float": 1.25, "text": "", "deep": [[[[1]]]]},
}


def entries(path: Path) -> list[tuple[str, str, Any]]:
    return list(json_sections(path))


def expected() -> list[tuple[str, str, Any]]:
    return [(section, key, value) for section, found in SECTIONS.items() for key, value in found.items()]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.json"


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1_000_000])
@pytest.mark.parametrize("options", [{}, {"indent": 2}, {"ensure_ascii": False, "separators": (",", ":")}], ids=str)
def test_every_entry_is_read_wherever_a_block_ends(
    file: Path, monkeypatch: pytest.MonkeyPatch, block: int, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(MODULE, "_BLOCK", block)
    file.write_text(f" \n{json.dumps(SECTIONS, **options)}\n ", encoding="utf-8")
    assert entries(file) == expected()


def test_a_file_that_is_cut_short_anywhere_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = json.dumps(SECTIONS)
    chosen = random.Random(3)
    for length in [0, 1, len(whole) - 1, *(chosen.randrange(len(whole)) for _ in range(40))]:
        file.write_text(whole[:length])
        with pytest.raises(BadFileError, match=r"file\.json' is no file of this kind"):
            entries(file)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", r"'\[' where '\{' belongs"),
        ('{"a": 1}', r"'1' where '\{' belongs"),
        ('{"a": {}} {}', "there is text after the end"),
        ('{"a": {} "b": {}}', r"'\"' where ',' belongs"),
        ("{1: {}}", "a key that is no text"),
        ('{"a": {"b" 1}}', "'1' where ':' belongs"),
        ('{"a": {"b": tru}}', "cut short or not JSON"),
        ('{"a": {"b": ' + "[" * 100_000, "cut short or not JSON"),
        ('{"a": {"b": 12', "a number without an end"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_no_such_file_is_told(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    with pytest.raises(BadFileError, match=told):
        entries(file)


def test_a_value_without_end_costs_no_memory(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_BLOCK", 1_000)
    file.write_text('{"a": {"b": "' + "x" * 100_000)
    with pytest.raises(BadFileError, match=r"a value of more than 5,000 characters, or not JSON"):
        list(json_sections(file, max_value_chars=5_000))


def test_a_file_that_cannot_be_read_is_named(file: Path) -> None:
    with pytest.raises(BadFileError, match=r"file\.json' cannot be read: No such file"):
        entries(file)
    file.write_bytes(b'{"a": {"b": "\xff"}}')
    with pytest.raises(BadFileError, match=r"cannot be read: .*can't decode"):
        entries(file)
