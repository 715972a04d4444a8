"""Store a document and find it again with the docshelf that is installed: `tools/dist.py` runs this where it installs.

    python smoke.py postgresql://... [EXTRA ...]

Prints the versions in use as JSON. What an extra brings must work where that extra is named, and elsewhere the error
has to name the extra.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
import tempfile
import uuid
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from zipfile import BadZipFile

from docshelf import ConfigurationError, DocShelf, Report

PACKAGES = ("sqlalchemy", "psycopg2-binary", "asyncpg", "psycopg", "langchain-core", "llama-index-core")


def expect(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"found {found!r} instead of {expected!r}")


def core(url: str) -> None:
    collection = uuid.uuid4().hex
    with DocShelf(url, collection) as shelf:
        inserted = shelf.sync({"intro": "Hello."}, source="guide.md")
        expect(inserted.counts, {"INS": 1, "UPD": 0, "SKIP": 0, "DEL": 0})
        expect(shelf.get("intro"), "Hello.")

    async def find_and_keep() -> Report:
        async with DocShelf(url, collection) as shelf:
            expect(await shelf.aget("intro"), "Hello.")
            return await shelf.async_({"intro": "Hello."}, source="guide.md")

    expect(asyncio.run(find_and_keep()).counts["SKIP"], 1)


def psycopg(url: str) -> None:
    core(url.replace("postgresql://", "postgresql+psycopg://"))


def langchain(url: str) -> None:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.vectorstores import InMemoryVectorStore
    from langchain_text_splitters import CharacterTextSplitter

    from langchain_docshelf import DocShelfByteStore, DocShelfStore, ParentDocumentRetriever

    class Lengths(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[float(len(text))] for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return [float(len(text))]

    document = Document("First.\n\nSecond.", metadata={"source": "guide.md"})
    collection = uuid.uuid4().hex
    with DocShelfStore(url, collection) as store:
        store.mset([("intro", document)])
        expect(store.mget(["intro", "nothing"]), [document, None])
    with DocShelfByteStore(url, f"{collection} bytes") as cache:
        cache.mset([("intro", b"Hello.")])
        expect(cache.mget(["intro"]), [b"Hello."])
    with DocShelfStore(url, f"{collection} parents") as parents:
        retriever = ParentDocumentRetriever(
            vectorstore=InMemoryVectorStore(Lengths()),  # which cannot search without NumPy
            docstore=parents,
            child_splitter=CharacterTextSplitter(chunk_size=7, chunk_overlap=0),
        )
        expect(retriever.sync([document]).counts["INS"], 1)
        expect(retriever.sync([document]).reused, 2)


def llama_index(url: str) -> None:
    from llama_index.core import SummaryIndex, load_index_from_storage
    from llama_index.core.node_parser import SentenceSplitter
    from llama_index.core.schema import Document

    from llama_index_docshelf import storage_context

    documents = [Document(id_="guide.md", text="First. Second. Third.", metadata={"title": "Guide"})]
    with DocShelf(url, uuid.uuid4().hex) as shelf:
        context = storage_context(shelf=shelf, index_collection=f"{shelf.collection} index")
        SummaryIndex.from_documents(documents, storage_context=context, transformations=[SentenceSplitter()])

        again = storage_context(shelf=shelf, index_collection=f"{shelf.collection} index")
        found = load_index_from_storage(again).as_retriever().retrieve("anything")
        expect([node.text for node in found], ["First. Second. Third."])


def arrow(url: str) -> None:
    from docshelf.moving import to_arrow

    with DocShelf(url, uuid.uuid4().hex) as shelf:
        shelf.set("intro", "Hello.")
        expect(to_arrow(shelf).read_all().column("key").to_pylist(), ["intro"])


def folder(url: str) -> None:
    from docshelf.folder import sync_folder

    with tempfile.TemporaryDirectory() as place, DocShelf(url, uuid.uuid4().hex) as shelf:
        Path(place, "a.html").write_text("<h1>Hello</h1>", encoding="utf-8")
        Path(place, "b.txt").write_bytes("Größer, höher, schöner, für über fünf Füße.".encode("latin-1"))
        Path(place, "draft.md").write_text("no", encoding="utf-8")
        report = sync_folder(place, shelf, name="f", exclude="draft*", encoding="detect")
        expect(report.counts["INS"], 2)
        expect(shelf.get("f:a.html").text, "# Hello")


def pdf(_url: str) -> None:
    from docshelf.folder import File, read_pdf

    expect([page.metadata for page in read_pdf(File(Path("a.pdf"), "a.pdf", _BLANK_PDF))], [{"page": 1}])


def docx(_url: str) -> None:
    from docshelf.folder import File, read_docx

    try:
        read_docx(File(Path("a.docx"), "a.docx", b"no such file"))
    except BadZipFile:
        return
    raise AssertionError("a broken file was read")


_BLANK_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count 1/Kids[3 0 R]>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\nxref\n0 4\n0000000000 65535 f \n"
    b"0000000009 00000 n \n0000000052 00000 n \n0000000101 00000 n \n"
    b"trailer<</Size 4/Root 1 0 R>>\nstartxref\n160\n%%EOF\n"
)


def pandas(url: str) -> None:
    from docshelf.display import to_pandas

    with DocShelf(url, uuid.uuid4().hex) as shelf:
        shelf.set("intro", "Hello.")
        expect(list(to_pandas(shelf)["text"]), ["Hello."])


def completion(url: str) -> None:
    from docshelf.cli import main as command

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        if command(["--url", url, "--completion", "bash"]):
            raise ImportError(err.getvalue())
    expect("docshelf" in out.getvalue(), True)


# What each extra brings, and what asks for it where it is not installed.
EXTRAS: dict[str, tuple[Callable[[str], None], Callable[[str], object]]] = {
    "psycopg": (psycopg, psycopg),
    "langchain": (langchain, lambda _: import_module("langchain_docshelf")),
    "llama-index": (llama_index, lambda _: import_module("llama_index_docshelf")),
    "arrow": (arrow, arrow),
    "folder": (folder, folder),
    "pdf": (pdf, pdf),
    "docx": (docx, docx),
    "pandas": (pandas, pandas),
    "completion": (completion, completion),
}


def main(server: str, *extras: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        urls = [f"sqlite:///{Path(folder, 'docs.db')}", server]
        for url in urls:
            core(url)
        for extra, (use, ask) in EXTRAS.items():
            if extra in extras:
                for url in [server] if extra == "psycopg" else urls:
                    use(url)
                continue
            try:
                ask(server)
            except (ImportError, ConfigurationError) as error:
                if f"pip install 'docshelf[{extra}]'" not in str(error):
                    raise
            else:
                raise AssertionError(f"{extra} is there, and was not installed")
    installed = {found.name.lower(): found.version for found in metadata.distributions()}
    versions = {package: installed[package] for package in PACKAGES if package in installed}
    print(json.dumps({"python": sys.version.split()[0], **versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])
