"""Look up known vulnerabilities of everything that is installed beside this tool, by pip-audit: `make audit`.

PyPI is asked first. What it does not know, or all if it cannot be reached, OSV is asked for. pip-audit alone ends well
when it could look up nothing, so this says how many packages were looked up, and ends with 2 if that is not all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

_SERVICES: Final = ("pypi", "osv")
_OURS: Final = "docshelf"


class Verdict(NamedTuple):
    """What services said.

    Attributes:
        known: the packages that were looked up.
        vulnerable: lines, one for each vulnerability.
        unknown: the packages that no service knew.
    """

    known: frozenset[str] = frozenset()
    vulnerable: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()


def read(answer: str) -> Verdict:
    """What pip-audit printed as JSON."""
    packages: list[dict[str, Any]] = [one for one in json.loads(answer)["dependencies"] if one["name"] != _OURS]
    known = [one for one in packages if "vulns" in one]
    return Verdict(
        frozenset(one["name"] for one in known),
        tuple(
            f"{one['name']} {one['version']}: {found['id']}, fixed in {', '.join(found['fix_versions']) or 'none'}"
            for one in known
            for found in one["vulns"]
        ),
        frozenset(one["name"] for one in packages) - {one["name"] for one in known},
    )


def merge(answers: Iterable[Verdict]) -> Verdict:
    """What several services said, each asked for what those before did not know."""
    merged = Verdict()
    for answer in answers:
        new = tuple(line for line in answer.vulnerable if line.partition(" ")[0] not in merged.known)
        known = merged.known | answer.known
        merged = Verdict(known, merged.vulnerable + new, (merged.unknown | answer.unknown) - known)
    return merged


def ask(service: str) -> Verdict | None:
    """What a service says of all packages; None if it does not answer."""
    command = [sys.executable, "-m", "pip_audit", "--skip-editable", "--progress-spinner", "off", "--format", "json"]
    run = subprocess.run([*command, "--vulnerability-service", service], capture_output=True, text=True, check=False)
    if not run.stdout.startswith("{"):
        reason = run.stderr.strip().splitlines() or ["it printed nothing"]
        print(f"{service} does not answer: {reason[-1]}", file=sys.stderr)
        return None
    return read(run.stdout)


def main() -> int:
    """Print what is known; 0 if nothing is wrong, 1 for vulnerabilities, 2 if packages could not be looked up."""
    answers: list[Verdict] = []
    for service in _SERVICES:
        if (answer := ask(service)) is not None:
            answers.append(answer)
            if not merge(answers).unknown:
                break
    verdict = merge(answers)
    print(*verdict.vulnerable, f"{len(verdict.known)} packages looked up", sep="\n")
    print(f"{len(verdict.vulnerable)} known vulnerabilities")
    if verdict.vulnerable:
        return 1
    if verdict.unknown or not verdict.known:
        print(
            f"{len(verdict.unknown)} packages could not be looked up, so nothing is known of them: "
            f"{', '.join(sorted(verdict.unknown)[:5]) or 'all'} (PyPI and OSV were asked)",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
