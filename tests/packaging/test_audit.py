"""`make audit` never takes "could not be looked up" for "has no vulnerability"."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools import audit


def answer(**packages: list[str] | None) -> str:
    """What pip-audit prints: for each package its vulnerabilities, or None where the service did not know it."""
    found: list[dict[str, Any]] = [{"name": "docshelf", "skip_reason": "distribution marked as editable"}]
    for name, ids in packages.items():
        if ids is None:
            found.append({"name": name, "skip_reason": "Dependency not found on PyPI and could not be audited"})
        else:
            vulnerabilities = [{"id": one, "fix_versions": ["2.0"], "aliases": [], "description": ""} for one in ids]
            found.append({"name": name, "version": "1.0", "vulns": vulnerabilities})
    return json.dumps({"dependencies": found, "fixes": []})


@pytest.mark.parametrize(
    ("pypi", "osv", "code"),
    [
        (answer(a=[], b=[]), None, 0),
        (answer(a=[], b=["CVE-1"]), None, 1),
        (answer(a=[], b=None), answer(a=[], b=[]), 0),
        (answer(a=[], b=None), answer(a=[], b=["CVE-1"]), 1),
        (answer(a=[], b=None), None, 2),
        (answer(a=None, b=None), None, 2),
        (None, answer(a=[], b=[]), 0),
        (None, None, 2),
    ],
)
def test_only_what_was_looked_up_counts(
    pypi: str | None, osv: str | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"pypi": pypi, "osv": osv}

    def ask(service: str) -> audit.Verdict | None:
        text = said[service]
        return None if text is None else audit.read(text)

    monkeypatch.setattr(audit, "ask", ask)
    assert audit.main() == code


def test_a_vulnerability_is_told_once_with_its_mend() -> None:
    both = audit.merge([audit.read(answer(a=["CVE-1"], b=None)), audit.read(answer(a=["CVE-1"], b=["CVE-2"]))])
    assert both.vulnerable == ("a 1.0: CVE-1, fixed in 2.0", "b 1.0: CVE-2, fixed in 2.0")
    assert both.unknown == frozenset()
