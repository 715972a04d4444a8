"""Files to documents: encodings, the readers in the box, PDF and DOCX, files that are large or change meanwhile."""

from __future__ import annotations

import codecs
import io
import os
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from docshelf import DocShelf, Document
from docshelf.folder import File, UnreadableError, read_docx, read_pdf
from docshelf.folder.readers import BUILT_IN
from docshelf.folder.text import decode
from tests.folder.conftest import Syncing, Tree, texts_of

GERMAN = "Füße über Straßen, größer als zuvor. Die schöne Müllerin hörte Änderungen, üblich für Wälder."


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (b"plain", "utf-8", "plain"),
        (b"", "utf-8", ""),
        ("ä".encode(), "utf-8", "ä"),
        (codecs.BOM_UTF8 + "ä".encode(), "utf-8", "ä"),
        ("ä".encode("utf-16"), "utf-8", "ä"),
        (codecs.BOM_UTF16_BE + "ä".encode("utf-16-be"), "latin-1", "ä"),
        (codecs.BOM_UTF32_LE + "ä".encode("utf-32-le"), "utf-8", "ä"),
        (codecs.BOM_UTF32_BE + "ä".encode("utf-32-be"), "detect", "ä"),
        ("ä".encode("utf-16-le"), "utf-16-le", "ä"),
        (GERMAN.encode("latin-1"), "latin-1", GERMAN),
        (GERMAN.encode("latin-1"), "detect", GERMAN),
        (GERMAN.encode(), "detect", GERMAN),
        (b"a\r\nb\rc\n", "utf-8", "a\nb\nc\n"),
        ("a\u2028b\x0bc".encode(), "utf-8", "a\u2028b\x0bc"),
    ],
)
def test_text_is_decoded(data: bytes, encoding: str, text: str) -> None:
    assert decode(data, encoding) == text


@pytest.mark.parametrize(
    ("data", "encoding", "said"),
    [
        (b"ab\xff", "utf-8", "it is not utf-8: byte 0xff at 2; give encoding='detect', or the name"),
        (b"ab\xff", "ascii", "it is not ascii"),
        (codecs.BOM_UTF8 + b"\xff", "detect", "it is not utf-8: byte 0xff at 0$"),
        (b"a\0b", "utf-8", "NUL characters"),
        ("ab".encode("utf-16-le"), "utf-8", "UTF-16 without a mark"),
        (b"".join(sha256(bytes([number])).digest() for number in range(64)), "detect", "its encoding is not known"),
    ],
)
def test_what_is_no_text_says_what_helps(data: bytes, encoding: str, said: str) -> None:
    with pytest.raises(UnreadableError, match=said):
        decode(data, encoding)


def read(name: str, content: str | bytes, encoding: str = "utf-8") -> list[str]:
    """The texts that the reader in the box makes of a file."""
    data = content if isinstance(content, bytes) else content.encode()
    file = File(Path(name), name, data, encoding)
    made = BUILT_IN[file.suffix][1](file)
    documents = [made] if isinstance(made, str | Document) else list(made)
    return [one.text if isinstance(one, Document) else one for one in documents]


@pytest.mark.parametrize("suffix", [".txt", ".text", ".md", ".markdown", ".rst", ".MD"])
def test_text_is_taken_as_it_is(suffix: str) -> None:
    assert read(f"a{suffix}", "# *Title*\n\ntext\n") == ["# *Title*\n\ntext\n"]


def test_html_becomes_markdown_without_what_a_reader_does_not_see() -> None:
    page = """<!doctype html><html><head><title>The
    Title</title><style>p {}</style><script>var x</script></head><body><h2>Head</h2>
    <p>A snake_case <b>word</b> &amp; 2*3</p><ul><li>one</li><li>two</li></ul>
    <table><tr><th>a</th></tr><tr><td>1</td></tr></table><!-- no --></body></html>"""
    file = File(Path("a.html"), "a.html", page.encode())
    document = BUILT_IN[".html"][1](file)
    assert isinstance(document, Document)
    assert document.metadata == {"title": "The Title"}
    assert document.text == "## Head\n\nA snake_case **word** & 2*3\n\n* one\n* two\n\n| a |\n| --- |\n| 1 |"


def test_html_says_its_own_encoding() -> None:
    page = '<meta charset="iso-8859-1"><p>größer</p>'
    assert read("a.htm", page.encode("latin-1")) == ["größer"]
    assert read("a.htm", page.replace("iso-8859-1", "no-such").encode()) == ["größer"]
    assert read("a.htm", codecs.BOM_UTF8 + page.encode()) == ["größer"]  # the mark wins


def test_json_is_read_by_elements() -> None:
    assert read("a.json", '[{"b": 1, "a": "ä"}, "text", 3]') == ['{\n  "b": 1,\n  "a": "ä"\n}', "text", "3"]
    assert read("a.json", '{"a": [1]}') == ['{\n  "a": [\n    1\n  ]\n}']
    assert read("a.jsonl", '{"a": 1}\n\n"x"\n') == ['{\n  "a": 1\n}', "x"]
    for content in ("[1,", "[" * 100_000, ""):
        with pytest.raises(UnreadableError, match="not JSON"):
            read("a.json", content)
    with pytest.raises(UnreadableError, match="line 2 is not JSON"):
        read("a.ndjson", "1\n{\n")


def test_tables_are_read_by_rows() -> None:
    assert read("a.csv", 'name,city\r\nAnn,"Bonn,\nor near"\r\n\r\nBob,\r\n') == [
        "name: Ann\ncity: Bonn,\nor near",
        "name: Bob",
    ]
    assert read("a.csv", "name;age\nAnn;3\nBob;4\n") == ["name: Ann\nage: 3", "name: Bob\nage: 4"]
    assert read("a.csv", "name\nAnn\n") == ["name: Ann"]
    assert read("a.csv", "a,b\n1,2,more\n3\n") == ["a: 1\nb: 2\nmore", "a: 3"]
    assert read("a.csv", "a,b\n") == read("a.csv", "") == []
    assert read("a.tsv", "a\tb\n1,0\t2\n") == ["a: 1,0\nb: 2"]
    with pytest.raises(UnreadableError, match="line 2: "):
        read("a.csv", 'a,b\n"1,2\n')


def pdf_of(*texts: str) -> bytes:
    """A PDF with a page for each text."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for text in texts:
        stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode()
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream))
        page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents %d 0 R/Resources<</Font<</F1 3 0 R>>>>>>"
        objects.append((page % len(objects)).encode())
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(kids)}]>>".encode()
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % offset for offset in offsets)
    out.write(b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))
    return out.getvalue()


_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


def docx_of(title: str, text: str) -> bytes:
    """A Word document with a heading and a paragraph."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as parts:
        kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
        parts.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType="application/vnd.'
            f'openxmlformats-package.relationships+xml"/><Override PartName="/d.xml" ContentType="{kind}"/></Types>',
        )
        relationship = f'<Relationship Id="r1" Type="{_OFFICE}" Target="d.xml"/>'
        parts.writestr("_rels/.rels", f'<Relationships xmlns="{_PACKAGE}/relationships">{relationship}</Relationships>')
        heading = f'<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>{title}</w:t></w:r></w:p>'
        paragraph = f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"
        parts.writestr("d.xml", f'<w:document xmlns:w="{_WORD}"><w:body>{heading}{paragraph}</w:body></w:document>')
    return out.getvalue()


def test_pdf_and_docx_by_readers(shelf: DocShelf, tree: Tree, sync: Syncing) -> None:
    tree.write("a.pdf", pdf_of("First page", "Second page"))
    tree.write("b.docx", docx_of("Title", "A paragraph."))
    tree.write("broken.pdf", b"%PDF-1.4 no more")
    assert sync(shelf).without_reader == {".docx": 1, ".pdf": 2}
    report = sync(shelf, readers={".pdf": read_pdf, ".docx": read_docx})
    assert sorted(texts_of(shelf).values()) == ["# Title\n\nA paragraph.", "First page", "Second page"]
    pages = shelf.source_entries(["docs:a.pdf"])[0]
    assert [entry.value.metadata["page"] for entry in pages] == [1, 2]
    [failed] = report.failed
    assert failed.name == "broken.pdf"
    assert "cannot be read as a PDF" in failed.reason


def test_a_reader_may_take_the_file_as_a_path(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    tree.write("a.md", "text")
    sync_once(shelf, readers={".md": lambda file: Path(file).read_text() + Path(str(file)).name})
    assert shelf.get("docs:a.md").text == "texta.md"


def test_a_file_that_is_too_large_keeps_its_entries(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    tree.write("a.md", "small")
    sync_once(shelf)
    tree.write("a.md", "x" * 101)
    [failed] = sync_once(shelf, max_file_bytes=100).failed
    assert "101 bytes, and max_file_bytes=100" in failed.reason
    assert shelf.get("docs:a.md").text == "small"


class Writer:
    """Writes to a file while it is read, some times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, times: int) -> None:
        self.times = times
        real = os.fstat

        def fstat(descriptor: int) -> Any:
            status = real(descriptor)
            if self.times:
                self.times -= 1
                with path.open("a") as file:
                    file.write("!")
            return status

        monkeypatch.setattr(os, "fstat", fstat)


def test_a_file_that_changes_while_it_is_read_is_read_again(
    shelf: DocShelf, tree: Tree, sync: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tree.write("a.md", "text")
    Writer(monkeypatch, path, 1)
    assert sync(shelf).counts["INS"] == 1
    assert shelf.get("docs:a.md").text == "text!"


def test_a_file_that_changes_all_the_time_is_left_to_the_next_run(
    shelf: DocShelf, tree: Tree, sync_once: Syncing, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tree.write("a.md", "text")
    with monkeypatch.context() as patch:
        Writer(patch, path, 100)
        [failed] = sync_once(shelf).failed
    assert "changes while it is read" in failed.reason
    assert shelf.count() == 0
    assert sync_once(shelf).counts["INS"] == 1


def test_a_reader_that_saw_another_file_than_was_hashed_is_not_believed(
    shelf: DocShelf, tree: Tree, sync_once: Syncing
) -> None:
    tree.write("a.md", "text")

    def late(file: Any) -> str:
        tree.write("a.md", "another")
        return Path(file).read_text()

    assert "changes while it is read" in sync_once(shelf, readers={".md": late}).failed[0].reason
    assert shelf.count() == 0


def test_a_file_that_vanishes_before_it_is_read_is_reported(shelf: DocShelf, tree: Tree, sync_once: Syncing) -> None:
    tree.write("a.md", "text")
    tree.write("b.md", "text")

    def remover(file: Any) -> str:
        tree.remove("b.md") if (tree.root / "b.md").exists() else None
        return str(file.text)

    report = sync_once(shelf, readers={".md": remover}, splitter=None)
    assert {one.name: one.op for one in report.files}["a.md"] == "INS"
    assert report.failed[0].reason == "No such file or directory"
