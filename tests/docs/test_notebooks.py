"""The notebooks run from top to bottom, on SQLite and PostgreSQL. Their output is right, and it is the stored one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import nbformat
import pytest

from notebooks.refresh import FOLDER, TEXTS, execute
from tests.conftest import Location

NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 100_000
# Times, and sizes, which depend on the database and on the version of the packer.
VOLATILE = re.compile(
    r"datetime\.datetime\([^()]*(?:\([^()]*\))?[^()]*\)"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    r"|(?<=_bytes=)\d+"
    r"|[\d.,]+ [KMGT]?B\b"
)
# A path from the root of some machine, and the address of an object.
MACHINE = re.compile(r"/(?:tmp|home|root|Users|usr|var|opt|private)/|\b[A-Z]:\\|0x[0-9a-f]{6,}")


def outputs(notebook: nbformat.NotebookNode) -> Iterator[Any]:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield from cell.outputs


def said(notebook: nbformat.NotebookNode) -> str:
    """The plain text of all outputs."""
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs(notebook))


def reports(text: str) -> list[dict[str, int]]:
    """The counts of the reports, in order."""
    found = re.findall(r"<\w*Report ([^>]*)>", text)
    return [{name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", report)} for report in found]


def counts(inserted: int = 0, updated: int = 0, skipped: int = 0, deleted: int = 0) -> dict[str, int]:
    return {"INS": inserted, "UPD": updated, "SKIP": skipped, "DEL": deleted}


def stats(text: str) -> list[tuple[int, int]]:
    """Numbers of entries and sources."""
    return [
        (int(entries), int(sources)) for entries, sources in re.findall(r"Stats\(entries=(\d+), sources=(\d+)", text)
    ]


def paragraphs(*names: str) -> int:
    return sum(len(topics[name].split("\n\n")) for name in names)


def first_shelf(text: str) -> None:
    total = paragraphs("assert", "break", "for", "pass", "try", "while", "with")
    edited = counts(updated=1, skipped=total - 2, deleted=1)
    assert reports(text) == [counts(inserted=total), counts(skipped=total), edited, edited]
    assert stats(text) == [(total - 1, 7)]
    assert str([f"break-{n}" for n in range(paragraphs("break"))]) in text
    assert "Again and again, this tests" in text


def parent_retriever(text: str) -> None:
    first, edited, tomorrow = reports(text)
    chunks = first["embedded"]
    assert chunks > 100
    assert first == counts(inserted=16) | {"embedded": chunks, "reused": 0, "removed": 0}
    anew = edited["embedded"]
    assert 0 < anew < 10
    reused = chunks - edited["removed"]
    assert edited == counts(updated=1, skipped=15) | {"embedded": anew, "reused": reused, "removed": edited["removed"]}
    assert tomorrow == counts(skipped=16) | {"embedded": 0, "reused": reused + anew, "removed": 0}
    assert f"{chunks + anew} embedded, {chunks + reused + reused + anew} reused" in text
    assert re.search(r"^break\.txt +The \"break\" statement$", text, re.MULTILINE)
    assert stats(text) == [(16, 16)]


def llama_index(text: str) -> None:
    (nodes, sources), (planned, _) = stats(text)
    nodes -= 8  # the hashes of the documents
    assert sources == 9
    assert "\n0 nodes embedded" in text
    assert re.search(r"^first: +8 documents ingested, (\d+) nodes", text, re.MULTILINE)[1] == str(nodes)  # type: ignore[index]
    assert re.search(r"^the same: +0 documents ingested, 0 nodes embedded$", text, re.MULTILINE)
    assert re.search(rf"^after an edit: 1 documents ingested, {planned} nodes embedded$", text, re.MULTILINE)
    assert reports(text) == [counts(updated=1, skipped=planned - 1)]
    assert planned > 1


def two_frameworks(text: str) -> None:
    total = paragraphs("break", "pass", "while")
    assert reports(text) == [counts(inserted=total), counts(inserted=1), counts(skipped=total)]
    assert "TextNode break-0 of break.txt\n" in text
    assert "datetime.date(2026, 1, 31)" in text
    assert "A loop without an end needs a break. {'by': 'us'" in text
    assert stats(text) == [(total + 1, 4)]


def asynchronous(text: str) -> None:
    names = ("async", "await", "break", "for", "try", "while")
    own = [counts(inserted=paragraphs("with")), counts(skipped=paragraphs("with"))]
    gathered = [counts(inserted=paragraphs(name)) for name in names]
    assert reports(text) == [*own, *gathered, counts(updated=1, skipped=paragraphs("while") - 1)]
    assert text.count('The "with" statement\n') == 2
    assert stats(text) == [(paragraphs("with", *names), 7)]


TRUTHS: dict[str, Callable[[str], None]] = {
    "1_first_shelf": first_shelf,
    "2_langchain_parent_retriever": parent_retriever,
    "3_llama_index": llama_index,
    "4_one_shelf_two_frameworks": two_frameworks,
    "5_async": asynchronous,
}


def shown(notebook: nbformat.NotebookNode) -> list[list[tuple[str, str, dict[str, str]]]]:
    """The output of each code cell without volatile parts. Of a picture only that it is one."""
    return [
        [
            (
                output.output_type,
                VOLATILE.sub("~", output.get("text", "")),
                {
                    kind: "" if kind.startswith("image/") else VOLATILE.sub("~", data)
                    for kind, data in output.get("data", {}).items()
                },
            )
            for output in cell.outputs
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def texts(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Whatever text the outputs hold, pictures too."""
    for output in outputs(notebook):
        yield from (output.get("text", ""), *output.get("data", {}).values())


def check(fresh: nbformat.NotebookNode, path: Path, *places: Path) -> None:
    """Fail unless the output is right, equals the stored output, and shows none of the places."""
    assert [output.text for output in outputs(fresh) if output.get("name") == "stderr"] == []
    assert not [text for text in texts(fresh) for place in (FOLDER.parent, *places) if str(place) in text]
    TRUTHS[path.stem](said(fresh))
    stored = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    if stored.metadata.docshelf.texts == TEXTS:
        assert shown(stored) == shown(fresh), "make notebooks stores what they show now"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_the_truth_and_this_is_what_is_stored(path: Path, tmp_path: Path) -> None:
    check(execute(path, tmp_path), path, tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_the_same_on_postgresql_and_on_what_it_left_there(
    path: Path, new_location: Callable[[str], Location], tmp_path: Path
) -> None:
    location = new_location("pg18")
    for _ in range(2 if path == NOTEBOOKS[0] else 1):
        check(execute(path, tmp_path, location.url), path, tmp_path)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_stored_notebook_is_whole_and_small_and_says_nothing_of_a_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert "text/html" in cells[-1].outputs[-1].data
    assert not [text for text in texts(notebook) if MACHINE.search(text)]
