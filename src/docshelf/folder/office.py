"""Readers that need extras of their own: PDF and DOCX. Give them to `sync_folder(readers=...)`."""

from __future__ import annotations

from collections.abc import Iterator

from docshelf.errors import ConfigurationError
from docshelf.folder.files import File
from docshelf.folder.markup import document_of_html
from docshelf.folder.text import UnreadableError
from docshelf.types import Document


def read_pdf(file: File) -> Iterator[Document]:
    """The text of each page as a document; `page` in its metadata counts from 1. A scan has no text.

    Needs `pip install 'docshelf[pdf]'`.

    Raises:
        ConfigurationError: pypdf is not installed.
        UnreadableError: the file is encrypted or broken.
    """
    try:
        from pypdf import PdfReader
        from pypdf.errors import PyPdfError
    except ModuleNotFoundError as exc:
        raise ConfigurationError("read_pdf needs pypdf: pip install 'docshelf[pdf]'") from exc
    try:
        for number, page in enumerate(PdfReader(file.stream()).pages, 1):
            yield Document(page.extract_text(), {"page": number})
    except PyPdfError as exc:
        raise UnreadableError(f"it cannot be read as a PDF: {exc}") from exc


def read_docx(file: File) -> Document:
    """The text of a Word document as Markdown, with its headings, lists and tables.

    Needs `pip install 'docshelf[docx]'`.

    Raises:
        ConfigurationError: mammoth is not installed.
    """
    try:
        from mammoth import convert_to_html, images
    except ModuleNotFoundError as exc:
        raise ConfigurationError("read_docx needs mammoth: pip install 'docshelf[docx]'") from exc
    # Pictures would come as long texts of digits.
    without_pictures = images.img_element(lambda _image: {})
    return document_of_html(convert_to_html(file.stream(), convert_image=without_pictures).value)
