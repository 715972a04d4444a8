"""Documents of no framework, and those whose content type the reader does not know."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from docshelf import (
    ArgumentTypeError,
    ArgumentValueError,
    ConfigurationError,
    ContentType,
    DocShelf,
    Document,
    UnknownDocument,
    UnsupportedValueError,
)
from docshelf.adapters import as_document
from tests.support.face import Face
from tests.support.markup import Seen

METADATA: dict[str, Any] = {"title": "T", "pages": (1, 2), "mtime": 1}


@dataclass
class Page:
    """Stands for a document of a framework."""

    body: str
    metadata: dict[str, Any] = field(default_factory=dict)


PAGES = ContentType(
    "test/page",
    (Page,),
    lambda page: {"body": page.body, "metadata": page.metadata},
    lambda content: Page(content["body"], content["metadata"]),
    text_field="body",
    metadata_field="metadata",
)


class TestDocument:
    def test_it_comes_back_as_it_was(self, face: Face) -> None:
        written = {
            "a": Document("text", METADATA, "own id"),
            "b": Document("only text"),
            "c": Document("\0\ud800", {"$n": b"\xff"}),
        }
        face.mset(written)
        assert dict(face.yield_items()) == written
        assert {entry.content_type for entry in face.yield_entries()} == {"document"}
        assert face.conditional_mset(written).counts == {"INS": 0, "UPD": 0, "SKIP": 3, "DEL": 0}
        assert face.verify() == []

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            Document("text").text = "other"  # type: ignore[misc]

    def test_only_its_text_counts_where_that_is_asked_for(self, new_face: Callable[..., Face]) -> None:
        face = new_face(hash_on="text")
        face.set("k", Document("text", METADATA))
        assert face.conditional_set("k", Document("text", {"other": 1}, "id")) == ("k", "SKIP")
        assert face.conditional_set("k", Document("new text", METADATA)) == ("k", "UPD")

    def test_names_of_its_metadata_may_not_count(self, new_face: Callable[..., Face]) -> None:
        face = new_face(hash_exclude=("mtime",))
        face.set("k", Document("text", METADATA))
        assert face.conditional_set("k", Document("text", {**METADATA, "mtime": 2})) == ("k", "SKIP")
        assert face.conditional_set("k", Document("text", {**METADATA, "title": "U"})) == ("k", "UPD")

    def test_it_is_another_value_than_a_dict_of_its_fields(self, face: Face) -> None:
        face.set("k", Document("text", {}))
        assert face.conditional_set("k", {"text": "text", "metadata": {}, "id": None}) == ("k", "UPD")

    @pytest.mark.parametrize(
        ("document", "told"),
        [
            (Document(1), "key 'k': text: a int where the text"),  # type: ignore[arg-type]
            (Document("t", [1]), "key 'k': metadata: a list; give a mapping"),  # type: ignore[arg-type]
            (Document("t", {}, 7), "key 'k': id: a int; give text or None"),  # type: ignore[arg-type]
            (Document("t", {"a": [object()]}), r"key 'k': metadata.a\[0\]: cannot store a object"),
        ],
    )
    def test_a_field_of_another_type_is_refused_by_name(self, face: Face, document: Document, told: str) -> None:
        with pytest.raises(UnsupportedValueError, match=told):
            face.mset({"good": 1, "k": document})
        assert face.count() == 0

    def test_a_subclass_is_refused_as_it_would_come_back_without_what_it_adds(self, face: Face) -> None:
        class Chapter(Document):
            pass

        with pytest.raises(UnsupportedValueError, match="a Chapter would come back as a Document"):
            face.set("k", Chapter("text"))

    def test_its_content_type_is_docshelfs_own(self) -> None:
        for name in ("document", "json", "bytes"):
            with pytest.raises(ConfigurationError, match=f"'{name}' is reserved"):
                DocShelf(":memory:", content_types=[dataclasses.replace(PAGES, name=name)])

    def test_it_prints_as_a_reader_reads_it(self) -> None:
        assert str(Document("Some\ntext.", {"title": "T", "page": 1})) == "Some\ntext.\n\ntitle: T\npage: 1"
        assert str(Document("text")) == "text"
        assert "huge: " in str(Document("text", {"huge": 10**10_000}))

    def test_a_notebook_shows_its_text_and_a_table_of_its_metadata(self, face: Face) -> None:
        seen = Seen(Document("<b>text</b>", {"title": "<i>", "n": 1}, "own id")._repr_html_())
        assert "Document own id" in seen.text
        assert "<b>text</b>" in seen.text
        assert seen.rows == [["title", "<i>"], ["n", "1"]]
        face.set("k", Document("the text", {"title": "T"}))
        seen = Seen(face.get_entry("k")._repr_html_())
        assert "the text" in seen.text
        assert ["title", "T"] in seen.rows

    def test_a_diff_is_of_its_text_and_where_that_stands_of_its_metadata(self, face: Face) -> None:
        face.mset({"a": Document("old text", {"n": 1}), "b": Document("text", {"n": 1})})
        changed = {"a": Document("new text", {"n": 2}), "b": Document("text", {"n": 2})}
        diffs = face.conditional_mset(changed, diff=True).diffs
        assert [(diff.old, diff.new) for diff in diffs] == [
            ("old text", "new text"),
            ("text\n\n{'n': 1}", "text\n\n{'n': 2}"),
        ]


class TestUnknownContentType:
    @pytest.fixture
    def rows(self, new_face: Callable[..., Face]) -> dict[str, Page]:
        pages = {"a": Page("text", METADATA), "b": Page("word " * 400)}
        new_face(content_types=[PAGES]).mset(pages, source="f")
        return pages

    def test_it_reads_as_its_fields_and_says_what_it_is(self, rows: dict[str, Page], face: Face) -> None:
        a = face.get("a")
        assert type(a) is UnknownDocument
        assert a.content_type == "test/page"
        assert a == {"body": "text", "metadata": METADATA}
        assert a["metadata"]["pages"] == (1, 2)
        assert face.get_entry("a").content_type == "test/page"
        assert [key for key, _ in face.yield_items()] == ["a", "b"]

    def test_it_is_healthy(self, rows: dict[str, Page], face: Face) -> None:
        assert face.verify() == []

    @pytest.mark.parametrize("options", [{}, {"hash_on": "text"}, {"hash_exclude": ("mtime",)}], ids=str)
    def test_it_writes_back_as_what_it_was(self, new_face: Callable[..., Face], options: dict[str, Any]) -> None:
        pages = {"a": Page("text", METADATA), "b": Page("word " * 400)}
        known, plain = new_face(content_types=[PAGES], **options), new_face()
        known.mset(pages)
        for key, page in pages.items():
            before = plain.get_entry(key)
            assert plain.conditional_set(key, before.value) == (key, "SKIP")
            assert plain.conditional_set("copy", before.value)[1] in ("INS", "UPD")
            copied = plain.get_entry("copy")
            assert (copied.value_hash, copied.content_type) == (before.value_hash, "test/page")
            assert known.get("copy") == page
        assert known.conditional_mset(pages).counts["SKIP"] == 2
        assert plain.verify() == []

    def test_a_changed_one_gets_another_hash(self, rows: dict[str, Page], new_face: Callable[..., Face]) -> None:
        plain = new_face()
        page = plain.get("a")
        page["metadata"]["title"] = "U"
        assert plain.conditional_set("a", page, source="f") == ("a", "UPD")
        assert new_face(content_types=[PAGES]).get("a") == Page("text", {**METADATA, "title": "U"})
        assert plain.verify() == []

    def test_it_can_be_made_by_hand(self, new_face: Callable[..., Face]) -> None:
        plain, known = new_face(), new_face(content_types=[PAGES])
        plain.set("a", UnknownDocument("test/page", {"body": "text", "metadata": {}}))
        assert known.get("a") == Page("text")
        assert known.conditional_set("a", Page("text")) == ("a", "SKIP")

    def test_a_store_that_knows_the_type_refuses_one_that_it_could_not_read(
        self, new_face: Callable[..., Face]
    ) -> None:
        known = new_face(content_types=[PAGES])
        known.set("a", UnknownDocument("test/page", {"body": "text", "metadata": {}}))
        assert known.get("a") == Page("text")
        for broken in (UnknownDocument("test/page", {"metadata": {}}), UnknownDocument("document", {"text": 1})):
            with pytest.raises(UnsupportedValueError, match="key 'k': the UnknownDocument is "):
                known.set("k", broken)

    @pytest.mark.parametrize("name", ["", "x" * 256, "json", "bytes"])
    def test_its_type_has_a_name_that_can_be(self, name: str) -> None:
        with pytest.raises(ArgumentValueError, match=r"content type|plain values"):
            UnknownDocument(name, {})

    def test_its_type_is_text(self) -> None:
        with pytest.raises(ArgumentTypeError, match="is a int; it has to be a str"):
            UnknownDocument(1, {})  # type: ignore[arg-type]

    def test_a_store_may_not_write_a_type_that_it_could_not_read(self) -> None:
        with pytest.raises(ConfigurationError, match="give text of 1 to 255"):
            DocShelf(":memory:", content_types=[dataclasses.replace(PAGES, name="x" * 256)])

    def test_what_makes_copies_keeps_its_type_and_hash(self, rows: dict[str, Page], face: Face) -> None:
        page = face.get("a")
        for made in (page.copy(), copy.copy(page), copy.deepcopy(page), pickle.loads(pickle.dumps(page))):
            assert type(made) is UnknownDocument
            assert made == page
            assert made.content_type == "test/page"
            assert made.stored_hashes == page.stored_hashes is not None

    def test_it_equals_its_fields_and_not_another_type(self) -> None:
        page = UnknownDocument("test/page", {"a": 1})
        assert page == {"a": 1}
        assert page == UnknownDocument("test/page", {"a": 1})
        assert page != UnknownDocument("test/note", {"a": 1})
        assert page != {"a": 2}

    def test_it_shows_what_it_is(self, rows: dict[str, Page], face: Face) -> None:
        page = face.get("a")
        assert repr(page).startswith("UnknownDocument('test/page', {'body': 'text', ")
        seen = Seen(page._repr_html_())
        assert "of content type test/page" in seen.text
        assert seen.rows[0] == ["body", "text"]
        assert dict(Seen(face.get_entry("a")._repr_html_()).rows)["value"].startswith("{'body': 'text', 'metadata': {")

    def test_its_view_does_not_grow_with_it(self) -> None:
        page = UnknownDocument("<script>" * 20, {f"{n}<": "<" * 1_000_000 for n in range(100)})
        assert len(page._repr_html_()) < 60_000
        assert "and 80 more" in Seen(page._repr_html_()).text

    def test_a_diff_of_it_is_of_its_fields(self, rows: dict[str, Page], face: Face) -> None:
        page = face.get("a")
        page["body"] = "other"
        [diff] = face.conditional_mset([("a", page, "f")], diff=True).diffs
        assert "'body': 'text'" in diff.old
        assert "'body': 'other'" in diff.new


@pytest.mark.parametrize(
    ("value", "document"),
    [
        ("text", Document("text")),
        ({"text": "t"}, Document("t")),
        ({"text": "t", "metadata": {"a": 1}}, Document("t", {"a": 1})),
        ({"text": "t", "metadata": {}, "id": "i"}, Document("t", {}, "i")),
        (Document("t"), Document("t")),
        ({"text": 1}, None),
        ({"text": "t", "metadata": None}, None),
        ({"text": "t", "id": 1}, None),
        ({"text": "t", "other": 1}, None),
        ({"metadata": {}}, None),
        (UnknownDocument("test/page", {"text": "t"}), None),
        (b"text", None),
        (None, None),
        (["text"], None),
    ],
    ids=repr,
)
def test_what_is_a_document_of_no_framework(value: Any, document: Document | None) -> None:
    assert as_document(value) == document
