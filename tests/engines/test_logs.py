"""One line for each call, and one for each retry; never a key, a value or a password."""

from __future__ import annotations

import logging
import re

import pytest

from docshelf import DocShelf, MassDeleteError
from tests.conftest import PASSWORD
from tests.support.face import Face, Loop
from tests.support.proxy import Proxy


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.DEBUG) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "docshelf" and record.levelno == level]


def test_each_call_is_a_line_with_its_counts(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    face.setup()
    with caplog.at_level(logging.DEBUG, "docshelf"):
        face.sync({"secret-key": "secret-value", "b": 1}, source="secret-source")
        face.get("secret-key")
        face.count()
        face.mdelete(["secret-key"])
    found = lines(caplog)
    assert [re.sub(r"ms=\d+\.\d", "ms=", line) for line in found] == [
        "write collection='default' INS=2 UPD=0 SKIP=0 DEL=0 ms= retries=0",
        "get_values collection='default' count=1 ms= retries=0",
        "count collection='default' count=2 ms= retries=0",
        "delete_keys collection='default' INS=0 UPD=0 SKIP=0 DEL=1 ms= retries=0",
    ]
    assert "secret" not in caplog.text


def test_nothing_is_logged_unless_it_is_asked_for(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "docshelf"):
        face.set("k", 1)
    assert lines(caplog) == []


def test_a_failed_call_is_a_line_without_the_text_of_its_error(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    face.sync({"secret-key": 1}, source="secret-source")
    with caplog.at_level(logging.DEBUG, "docshelf"), pytest.raises(MassDeleteError, match="secret-source"):
        face.sync({}, source="secret-source")
    [line] = lines(caplog)
    assert line.startswith("write collection='default' failed with MassDeleteError ms=")
    assert "secret" not in caplog.text


def test_retries_are_warnings_and_are_counted(
    proxy: Proxy, mode: str, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    with DocShelf(proxy.url()) as shelf:
        face = Face(shelf, mode, loop)
        face.set("k", 1)
        proxy.cut()
        with caplog.at_level(logging.DEBUG, "docshelf"):
            assert face.get("k") == 1
    [warning] = lines(caplog, logging.WARNING)
    assert re.fullmatch(r"a step failed with UnreachableError( \(\w{5}\))? and is tried again", warning)
    [line] = lines(caplog)
    assert line.endswith("retries=1")
    assert PASSWORD not in caplog.text
