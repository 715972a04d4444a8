"""How a retriever's report looks."""

from __future__ import annotations

from langchain_docshelf import RetrieverReport
from tests.support.markup import Seen


class TestReport:
    REPORT = RetrieverReport((), embedded=1200, reused=3, removed=2)

    def test_it_prints_as_a_table(self) -> None:
        lines = str(self.REPORT).splitlines()
        assert lines[-3:] == ["embedded     1,200", "reused           3", "removed          2"]
        assert {len(line) for line in lines} == {18}

    def test_it_shows_as_a_table_in_a_notebook(self) -> None:
        rows = Seen(self.REPORT._repr_html_()).rows
        assert rows[-3:] == [["embedded", "1,200", ""], ["reused", "3", ""], ["removed", "2", ""]]

    def test_its_repr_is_one_line(self) -> None:
        assert repr(self.REPORT) == "<RetrieverReport INS=0 UPD=0 SKIP=0 DEL=0 embedded=1200 reused=3 removed=2>"
