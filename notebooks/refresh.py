"""Run the notebooks from top to bottom and store what they show: `make notebooks`."""

from __future__ import annotations

import os
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from pydoc_data.topics import topics

import matplotlib.font_manager  # noqa: F401 - lists the fonts once, which a notebook would report on
import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
# The texts differ from one Python to another, and the numbers with them.
TEXTS = sha256(repr(sorted(topics.items())).encode()).hexdigest()


def execute(path: Path, folder: Path, url: str = "") -> nbformat.NotebookNode:
    """A notebook with the outputs of a fresh run in a folder; `url` is the database, by default a new SQLite file.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    client = NotebookClient(
        notebook,
        timeout=300,
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(folder)}},
    )
    # Nothing of the user's: neither their database nor their IPython profile and history.
    own = {"DOCSHELF_URL": url, "IPYTHONDIR": str(folder / "ipython"), "TMPDIR": str(folder)}
    client.execute(env={**os.environ, **own})
    # What says more about this machine than about the notebook is left out.
    notebook.metadata = {
        "docshelf": {"texts": TEXTS},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def main() -> None:
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, Path(folder))
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
        sys.stdout.write(f"{path.name}  {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
