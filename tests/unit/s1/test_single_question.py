"""A scan over one question shows what was written, since its numbers say nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from s1.records import ScoreRow, TraceRow
from tests.support import scans
from tests.support.scans import point, rows, run, trace_of


def written(score: ScoreRow) -> TraceRow:
    waited = "\nWait, a third one." if score.waits else ""
    return replace(trace_of(score), thinking=f"```r``` and <r>.{waited}\n", answer=f"It is {score.extracted}.\n")


def report_of(store: Path, questions: int) -> Path:
    scores = [rows(0, questions, 5), rows(1, questions, 9, waits=1)]
    with patch.object(scans, "trace_of", written):
        return run(store, [point(None, 0), point(None, 1)], scores)


def test_one_question_is_shown_with_every_trace(tmp_path: Path) -> None:
    out = report_of(tmp_path, 1)
    text = (out / "README.md").read_text()
    section = text[text.index("## The traces") : text.index("Intervals:")]
    assert "Question `q00`, right answer `7`." in section
    assert "**natural end**: wrong, `8`. Thinking, then answer:\n\n    ```r``` and <r>.\n\n    It is 8.\n" in section
    assert (
        "**Wait x1**: right, `7`. Thinking, then answer:\n\n    ```r``` and <r>.\n    Wait, a third one.\n" in section
    )
    page = (out / "report.html").read_text()
    assert '<pre tabindex="0">```r``` and &lt;r&gt;.\nWait, a third one.</pre>' in page


def test_several_questions_are_not(tmp_path: Path) -> None:
    out = report_of(tmp_path, 2)
    assert "## The traces" not in (out / "README.md").read_text()
    assert not re.search("<h2>The traces</h2>", (out / "report.html").read_text())
