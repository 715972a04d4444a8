"""The contract of LlamaIndex's stores. The same tests run on LlamaIndex's own stores in memory and on docshelf's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.data_structs import IndexDict, IndexGraph, IndexList, KeywordTable
from llama_index.core.schema import BaseNode, Document
from llama_index.core.storage.docstore.types import RefDocInfo

from llama_index_docshelf import DocShelfDocumentStore, DocShelfIndexStore, DocShelfKVStore
from tests.adapters.llama_index.twins import Twin, ids, piece, pieces


class TestKVStore:
    @pytest.fixture
    def store(self, any_store: Callable[[type], Twin]) -> Twin:
        return any_store(DocShelfKVStore)

    def test_get_returns_what_put_wrote(self, store: Twin) -> None:
        store.put("a", {"n": 1, "deep": {"list": [1, None, "x"]}})
        assert store.get("a") == {"n": 1, "deep": {"list": [1, None, "x"]}}

    def test_a_value_keeps_the_order_of_its_keys(self, store: Twin) -> None:
        store.put("a", {"z": {"y": 1, "b": 2}, "c": [{"x": 1, "a": 2}]})
        assert str(store.get("a")) == str({"z": {"y": 1, "b": 2}, "c": [{"x": 1, "a": 2}]})

    def test_a_missing_key_reads_as_none(self, store: Twin) -> None:
        assert store.get("a") is None

    def test_a_second_put_replaces_the_first(self, store: Twin) -> None:
        store.put("a", {"n": 1})
        store.put("a", {"m": 2})
        assert store.get("a") == {"m": 2}

    def test_put_all_writes_every_pair(self, store: Twin) -> None:
        store.put_all([(f"k{number}", {"n": number}) for number in range(30)])
        assert store.get_all() == {f"k{number}": {"n": number} for number in range(30)}

    def test_get_all_keeps_the_order_of_insertion(self, store: Twin) -> None:
        for key in ("b", "a", "c", "b"):
            store.put(key, {"of": key})
        assert list(store.get_all()) == ["b", "a", "c"]

    def test_get_all_of_an_empty_collection_is_empty(self, store: Twin) -> None:
        assert store.get_all("nothing") == {}

    def test_collections_share_nothing(self, store: Twin) -> None:
        store.put("a", {"n": 1})
        store.put("a", {"n": 2}, collection="other/data")
        assert store.delete("a", collection="other/data")
        assert (store.get("a"), store.get("a", collection="other/data")) == ({"n": 1}, None)

    def test_delete_returns_whether_the_key_existed(self, store: Twin) -> None:
        store.put("a", {})
        assert [store.delete("a"), store.delete("a")] == [True, False]

    def test_changing_a_value_afterwards_changes_nothing_in_the_store(self, store: Twin) -> None:
        value = {"n": 1}
        store.put("a", value)
        value["n"] = 2
        store.get("a")["n"] = 3
        assert store.get("a") == {"n": 1}


class TestDocumentStore:
    @pytest.fixture
    def store(self, any_store: Callable[[type], Twin]) -> Twin:
        return any_store(DocShelfDocumentStore)

    def test_get_nodes_keeps_the_order_of_the_ids(self, store: Twin) -> None:
        nodes = pieces("d", 5)
        store.add_documents(nodes)
        assert store.get_nodes(["d-3", "d-0", "d-4"]) == [nodes[3], nodes[0], nodes[4]]

    def test_a_node_dict_keeps_its_numbers(self, store: Twin) -> None:
        nodes = pieces("d", 3)
        store.add_documents(nodes)
        assert store.get_node_dict({7: "d-2", 1: "d-0"}) == {7: nodes[2], 1: nodes[0]}

    @pytest.mark.parametrize("method", ["get_document", "get_node", "delete_document"])
    def test_a_missing_node_is_a_value_error(self, store: Twin, method: str) -> None:
        with pytest.raises(ValueError, match="gone not found"):
            getattr(store, method)("gone")

    @pytest.mark.parametrize("method", ["get_document", "get_node", "delete_document", "delete_ref_doc"])
    def test_a_missing_node_is_none_with_raise_error_false(self, store: Twin, method: str) -> None:
        assert getattr(store, method)("gone", raise_error=False) is None

    def test_get_nodes_raises_for_missing_nodes_or_leaves_them_out(self, store: Twin) -> None:
        store.add_documents([piece("a")])
        with pytest.raises(ValueError, match="b not found"):
            store.get_nodes(["a", "b"])
        with pytest.raises(ValueError, match="b not found"):
            store.get_node_dict({0: "b"})
        assert ids(store.get_nodes(["b", "a"], raise_error=False)) == ["a"]

    def test_docs_are_all_nodes_in_the_order_of_insertion(self, store: Twin) -> None:
        nodes: list[BaseNode] = [piece("z"), Document(id_="d", text="t"), piece("a", "d")]
        store.add_documents(nodes)
        assert store.docs == {node.node_id: node for node in nodes}
        assert list(store.docs) == ["z", "d", "a"]

    def test_a_node_added_again_is_replaced_and_stays_in_its_place(self, store: Twin) -> None:
        store.add_documents(pieces("d", 3))
        store.add_documents([piece("d-0", "d", "new")])
        assert store.get_node("d-0").text == "new"
        assert store.get_ref_doc_info("d").node_ids == ["d-0", "d-1", "d-2"]

    def test_of_equal_ids_in_one_call_the_last_wins(self, store: Twin) -> None:
        store.add_documents([piece("a", "d", "first"), piece("b", "d"), piece("a", "d", "last")])
        assert store.get_node("a").text == "last"
        assert store.get_ref_doc_info("d").node_ids == ["a", "b"]

    def test_without_allow_update_an_existing_node_is_refused_and_nothing_is_written(self, store: Twin) -> None:
        store.add_documents([piece("a", text="old")])
        with pytest.raises(ValueError, match=r"node_id a already exists\. Set allow_update to True to overwrite"):
            store.add_documents([piece("b"), piece("a", text="new")], allow_update=False)
        assert (store.get_node("a").text, store.document_exists("b")) == ("old", False)

    def test_without_allow_update_new_nodes_and_nodes_with_a_hash_alone_are_written(self, store: Twin) -> None:
        store.set_document_hash("a", "h")
        store.add_documents([piece("a"), piece("b")], allow_update=False)
        assert ids(store.get_nodes(["a", "b"])) == ["a", "b"]

    def test_document_exists_is_true_for_nodes_and_false_for_hashes(self, store: Twin) -> None:
        store.add_documents([piece("a", "d")])
        store.set_document_hash("hash only", "h")
        assert [store.document_exists(name) for name in ("a", "d", "hash only")] == [True, False, False]
        assert [store.ref_doc_exists(name) for name in ("a", "d", "hash only")] == [False, True, False]

    def test_adding_a_node_writes_its_hash(self, store: Twin) -> None:
        nodes = [piece("a", "d"), Document(id_="d", text="whole")]
        store.add_documents(nodes)
        assert [store.get_document_hash(name) for name in ("a", "d")] == [node.hash for node in nodes]
        assert store.get_document_hash("gone") is None

    def test_a_hash_may_exist_without_a_node(self, store: Twin) -> None:
        store.set_document_hash("a", "h1")
        store.set_document_hashes({"a": "h2", "b": "h3"})
        assert (store.get_document_hash("a"), store.get_document_hash("b")) == ("h2", "h3")
        assert store.get_document("a", raise_error=False) is None
        assert store.docs == {}

    def test_all_hashes_are_returned_with_the_last_id_of_each(self, store: Twin) -> None:
        assert store.get_all_document_hashes() == {}
        store.set_document_hash("b", "same")
        store.set_document_hashes({"a": "same", "c": "other", "d": ""})
        assert store.get_all_document_hashes() == {"same": "a", "other": "c"}

    def test_hashes_that_are_set_together_keep_their_order(self, store: Twin) -> None:
        store.set_document_hashes({"b": "same", "a": "same"})
        assert store.get_all_document_hashes() == {"same": "a"}

    @pytest.mark.parametrize("document", [None, "d"])
    def test_without_text_only_hash_and_document_are_stored(self, store: Twin, document: str | None) -> None:
        node = piece("a", document, metadata={"title": "T"})
        store.add_documents([node], store_text=False)
        assert not store.document_exists("a")
        assert store.get_document("a", raise_error=False) is None
        assert store.get_document_hash("a") == node.hash
        info = RefDocInfo(node_ids=["a"], metadata={"title": "T"})
        assert store.get_all_ref_doc_info() == ({} if document is None else {"d": info})

    @pytest.mark.parametrize("document", [None, "d"])
    def test_without_text_an_existing_node_keeps_its_text_and_gets_the_hash(
        self, store: Twin, document: str | None
    ) -> None:
        store.add_documents([piece("a", document, "old")])
        new = piece("a", document, "new")
        store.add_documents([new], store_text=False)
        assert (store.get_node("a").text, store.get_document_hash("a")) == ("old", new.hash)

    def test_ref_doc_info_lists_nodes_in_the_order_of_insertion_and_their_metadata(self, store: Twin) -> None:
        store.add_documents([piece("z", "d", metadata={"title": "T", "page": 1})])
        store.add_documents([piece("a", "d", metadata={"title": "T", "page": 1}), piece("m", "other")])
        assert store.get_ref_doc_info("d") == RefDocInfo(["z", "a"], {"title": "T", "page": 1})
        assert store.get_all_ref_doc_info() == {"d": store.get_ref_doc_info("d"), "other": RefDocInfo(["m"], {})}
        assert list(store.get_all_ref_doc_info()) == ["d", "other"]

    def test_ref_doc_info_merges_the_metadata_of_all_nodes_of_a_call(self, store: Twin) -> None:
        store.add_documents([piece("a", "d", metadata={"x": 1, "y": 1}), piece("b", "d", metadata={"y": 2})])
        assert store.get_ref_doc_info("d").metadata == {"x": 1, "y": 2}

    def test_a_document_without_nodes_has_no_ref_doc_info(self, store: Twin) -> None:
        store.add_documents([Document(id_="d", text="t")])
        assert store.get_ref_doc_info("d") is None
        assert not store.get_all_ref_doc_info()
        with pytest.raises(ValueError, match="ref_doc_id d not found"):
            store.delete_ref_doc("d")
        assert store.document_exists("d")

    def test_deleting_a_document_deletes_its_nodes_and_itself(self, store: Twin) -> None:
        store.add_documents([*pieces("d", 3), *pieces("other", 2), Document(id_="d", text="whole")])
        store.delete_ref_doc("d")
        assert list(store.docs) == ["other-0", "other-1"]
        assert list(store.get_all_ref_doc_info()) == ["other"]
        assert store.get_document_hash("d") is None
        with pytest.raises(ValueError, match="ref_doc_id d not found"):
            store.delete_ref_doc("d")

    def test_empty_calls_write_nothing(self, store: Twin) -> None:
        store.add_documents([])
        store.set_document_hashes({})
        assert store.get_nodes([]) == []
        assert store.docs == {}


class TestIndexStore:
    @pytest.fixture
    def store(self, any_store: Callable[[type], Twin]) -> Twin:
        return any_store(DocShelfIndexStore)

    @pytest.mark.parametrize(
        "struct",
        [
            IndexDict(index_id="i", summary="s", nodes_dict={"v": "n"}, doc_id_dict={"d": ["n"]}),
            IndexList(index_id="i", nodes=["b", "a"]),
            IndexGraph(index_id="i", all_nodes={0: "a", 7: "b"}, root_nodes={0: "a"}),
            KeywordTable(index_id="i", table={"word": {"a", "b"}}),
        ],
        ids=lambda struct: type(struct).__name__,
    )
    def test_an_index_struct_comes_back_equal(self, store: Twin, struct: Any) -> None:
        store.add_index_struct(struct)
        assert store.get_index_struct("i") == struct
        assert store.get_index_struct() == struct
        assert type(store.get_index_struct("i")) is type(struct)

    def test_a_missing_index_struct_is_none_and_can_be_deleted(self, store: Twin) -> None:
        assert store.get_index_struct("gone") is None
        store.delete_index_struct("gone")

    def test_all_are_listed_in_the_order_of_insertion(self, store: Twin) -> None:
        for name in ("b", "a", "c"):
            store.add_index_struct(IndexList(index_id=name))
        store.add_index_struct(IndexList(index_id="b", nodes=["n"]))
        store.delete_index_struct("a")
        assert store.index_structs() == [IndexList(index_id="b", nodes=["n"]), IndexList(index_id="c")]
