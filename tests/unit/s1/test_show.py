"""`sweep show` prints what is in the folder of a result: points, audit, verdict, and traces side by side."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s1.records import AnswerEnd, Outcome
from s1.report.show import show
from s1.report.trace_archive import Origin, Piece
from s1.report.trace_archive.reader import open_archive
from sweep.cli.main import main
from sweep.cli.show import show_blocks
from sweep.console import Console
from sweep.core.shown import ShowRequest
from sweep.errors import InputError
from tests.support import archives, scans

LONG = (
    "There are 20 marks. I start at mark 3. Ana turns by 4, so I am at 7. Ben turns by 9, so I am at 16. "
    "Eva turns by 5: 16 and 5 are 21, which is one more than 20, so I am at mark 1. "
    "I count once more from the beginning to be sure."
)
TABLE = (
    "label,series,waits,votes,accuracy,lo,hi,n,thinking_tokens,forced_share,no_answer_share,answers_cut_share,"
    "over_budget,under_minimum,mean_waits,all_waits_share,thinks_on_share,loop_share,graders_disagree,valid,key"
)
ROWS = (
    ("max 16", 0, 0.25, 16, 1, "yes", 0),
    ("natural end", 0, 0.5, 40, 0, "yes", 0),
    ("Wait x2, as asked", 2, 0.75, 90, 0, "yes", 0),
    ("Hmm x1", 1, 1.0, 60, 0, "no", 3),
)
README = """\
# scan

    python -m sweep +experiment=scan -m

**Claim.** Accuracy rises &lt;strictly>. Held against the numbers: rises.

**Verdict.** Accuracy rises with thinking to Wait x2.

| point | accuracy, % |
|---|---:|
| max 16 | 25.0 |

Control 100.0%, Scaling none.

Failed the audit, and left out of the verdict: Hmm x1 (1 of 4 points).

- Hmm x1: 3 traces think more than was allowed.

Intervals: accuracy Wilson.
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result of four points and three questions, with its trace archive."""
    folder = tmp_path_factory.mktemp("result")
    points = [archives.point(place, row[0]) for place, row in enumerate(ROWS)]
    rows = [
        f'"{label}",,{waits},,{accuracy},0.1,0.9,4,{tokens},{forced},0,0,{over},0,{waits},{"1" if waits else ""},'
        f"0,0,0,{valid},{point.sources[0].key}"
        for (label, waits, accuracy, tokens, forced, valid, over), point in zip(ROWS, points, strict=True)
    ]
    (folder / "table.csv").write_text("\n".join([TABLE, *rows]) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(README, encoding="utf-8")
    archives.write(folder / "traces", points, [_dial(), _short(), _cut()])
    return folder


def _dial() -> tuple[Any, Any]:
    """Wait x2 begins as the natural end does, and the budget cuts within that beginning."""
    waited = [
        Piece(LONG, Origin.SAMPLED),
        Piece("\n\nWait", Origin.APPENDED),
        Piece(", Eva turns back: 16 less 5 is 11.", Origin.SAMPLED),
        Piece("", Origin.APPENDED),
        Piece(" So it is 11.", Origin.SAMPLED),
    ]
    question = archives.question(
        0, "A dial has 20 marks.\nWhere is it in the end?", question_id="057874958607", gold="11"
    )
    cut = archives.trace(LONG[:80], " 7", False, cut=True)
    natural = archives.trace(LONG, " 1", False)
    return question, {0: [cut], 1: [natural], 2: [archives.trace("", " 11", pieces=waited, waits=2)], 3: [natural]}


def _short() -> tuple[Any, Any]:
    question = archives.question(1, "What is 3 + 4?", question_id="q01")
    seven = archives.trace("3 and 4 are 7.", " 7")
    return question, {place: [seven] for place in range(4)}


def _cut() -> tuple[Any, Any]:
    question = archives.question(2, "数 😀: which number is it?", question_id="q02", gold="\\frac{1}{2}")
    none = archives.trace(
        "数 数 数", " it is [cut] by", False, extracted=None, outcome=Outcome.NONE, answer_end=AnswerEnd.CAP, loops=True
    )
    return question, {0: [none], 1: [archives.trace("half", " 1/2")], 2: [none], 3: [none]}


def printed(folder: Path, columns: int, **asked: Any) -> str:
    file = io.StringIO()
    show_blocks(Console(file=file, width=columns), show(folder, ShowRequest(**asked)).blocks)
    return "\n".join(each.rstrip() for each in file.getvalue().splitlines()) + "\n"


def traces_of(folder: Path, **asked: Any) -> list[Any]:
    """The traces that are shown, as JSON."""
    data: Any = show(folder, ShowRequest(**asked)).data
    return data["traces"]


VIEWS: dict[str, dict[str, str]] = {
    "points": {},
    "one-point": {"points": "natural end"},
    "question": {"question": "057874958607"},
    "cut": {"question": "#0", "points": "max 16,natural end"},
    "no-answer": {"question": "q02", "points": "max 16"},
    "flips": {"question": "flips"},
}


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_at_two_widths(view: str, columns: int, result: Path, golden: Callable[[str, str], None]) -> None:
    text = printed(result, columns, **VIEWS[view])
    assert max(map(len, text.splitlines())) <= columns
    golden(f"cli/show/{view}-{columns}.txt", text)


def test_the_default_points_are_the_reference_and_the_point_furthest_from_it(result: Path) -> None:
    traces = traces_of(result, question="#1")
    assert [each["point"] for each in traces] == ["natural end", "Wait x2, as asked"]


@pytest.mark.parametrize("typed", ["max 16,Wait x2, as asked", "Wait x2, as asked , max 16", "#0,#2", "max 16,#2,#2"])
def test_points_are_found_by_labels_with_commas_and_by_number(typed: str, result: Path) -> None:
    traces = traces_of(result, question="q01", points=typed)
    assert {each["point"] for each in traces} == {"max 16", "Wait x2, as asked"}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (
            {"question": "q03"},
            "--question q03: no such question. Did you mean q02? Give an id, a row from '#0' to '#2'",
        ),
        ({"question": "1"}, "--question 1: no such question. Did you mean the row '#1'?"),
        ({"question": "#3"}, "--question #3: no such question. Give an id"),
        ({"question": ""}, "--question : no such question. Give an id"),
        ({"question": "q01", "points": "Wait x3"}, "--points Wait x3: no such point. Did you mean Wait x2, as asked?"),
        ({"question": "q01", "points": "#9"}, "--points #9: no such point. Known here: max 16 (#0), natural end (#1)"),
        ({"question": "q01", "seed": 1}, "--seed, --sample: natural end has no such trace. It has: seed 0 sample 0."),
        ({"question": "flips", "points": "max 16"}, "--question flips: compares two points, not 1."),
        (
            {"question": "flips", "seed": 7},
            "--seed, --sample: natural end and Wait x2, as asked have no such trace. They have: seed 0; sample 0.",
        ),
        ({"question": "#" + 5000 * "1"}, "--question #111"),
        ({"question": "q01", "points": "#" + 5000 * "1"}, "--points #111"),
        ({"sample": 0}, "--sample 0: chooses a trace of a question. Add --question, or leave it out."),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(asked: dict[str, Any], reason: str, result: Path) -> None:
    with pytest.raises(InputError) as refused:
        show(result, ShowRequest(**asked))
    assert str(refused.value).startswith(reason)


def test_a_label_that_two_lines_share_is_named_with_its_line(tmp_path: Path) -> None:
    points = [archives.point(0, "max 8", series=("laptop",)), archives.point(1, "max 8", series=("qwen3_8b",))]
    traces = {place: [archives.trace("a", str(place))] for place in range(2)}
    archives.write(tmp_path / "traces", points, [(archives.question(0), traces)])
    (tmp_path / "table.csv").write_text(
        "label,series,accuracy,thinking_tokens,waits,valid,key\n"
        + "".join(f"max 8,{each.series[0]},0.5,8,0,yes,{each.sources[0].key}\n" for each in points)
    )
    with pytest.raises(InputError, match=r"2 points have this name\. Known here: laptop, max 8 \(#0\), qwen3_8b"):
        show(tmp_path, ShowRequest(question="q00", points="max 8"))
    traces = traces_of(tmp_path, question="q00", points="qwen3_8b, max 8,laptop, max 8")
    assert [each["answer"] for each in traces] == ["1", "0"]


def test_points_without_traces_to_compare_have_no_flips(tmp_path: Path) -> None:
    """Votes of the same traces, and points of different questions: "0 traces differ" would be a wrong answer."""
    one, other, votes = (archives.point(at, label) for at, label in enumerate(("one", "other", "one, majority of 4")))
    votes = replace(votes, sources=one.sources)
    rows = [(archives.question(at), {at: [archives.trace("a", " 7")]}) for at in (0, 1)]
    archives.write(tmp_path / "traces", [one, other, votes], rows)
    (tmp_path / "table.csv").write_text(TABLE + "\n", encoding="utf-8")
    for points, reason in {"#0,#2": "aggregate the same traces", "#0,#1": "share no question, seed and sample"}.items():
        with pytest.raises(InputError, match=reason):
            show(tmp_path, ShowRequest(question="flips", points=points))


def test_a_question_that_only_some_points_have_is_shown_with_these(tmp_path: Path) -> None:
    points = [archives.point(0, "max 8"), archives.point(1, "max 9", samples=2)]
    rows = [
        (archives.question(0), {0: [archives.trace("a", "1")]}),
        (archives.question(1), {1: [archives.trace("b", "2"), archives.trace("c", "3")]}),
    ]
    archives.write(tmp_path / "traces", points, rows)
    (tmp_path / "table.csv").write_text(
        "label,series,accuracy,thinking_tokens,waits,valid,key\n"
        + "".join(f"{each.label},,0.5,8,0,yes,{each.sources[0].key}\n" for each in points)
    )
    traces = traces_of(tmp_path, question="q01", sample=1)
    assert [(each["point"], each["answer"]) for each in traces] == [("max 9", "3")]
    with pytest.raises(InputError, match="--points max 8: has no trace of q01"):
        show(tmp_path, ShowRequest(question="q01", points="max 8"))


def test_texts_of_a_model_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    evil = archives.trace("\x1b[2J[red]loud[/red]\x07", "\x1b]0;title\x07", extracted="\x1b[31m7")
    archives.write(tmp_path / "traces", [archives.point(0, "max 8")], [(archives.question(0), {0: [evil]})])
    row = f"max 8,,1,8,0,yes,{archives.point(0, '').sources[0].key}"
    (tmp_path / "table.csv").write_text(f"label,series,accuracy,thinking_tokens,waits,valid,key\n{row}\n")
    text = printed(tmp_path, 80, question="q00")
    assert "\x1b" not in text and "\x07" not in text
    assert "[red]loud[/red]" in text


def test_marks_in_what_two_traces_share_are_not_lost(tmp_path: Path) -> None:
    """A Wait that both were given is counted; one that a model wrote, or an end that it wrote, is not in common."""
    given, written = Piece("\nWait", Origin.APPENDED), Piece("\nWait", Origin.SAMPLED)
    start, cut, end = Piece(LONG, Origin.SAMPLED), Piece("</think>", Origin.CUT), Piece("</think>", Origin.DELIMITER)
    more = Piece(", so 7", Origin.SAMPLED)
    points = [archives.point(0, "one"), archives.point(1, "other")]
    pairs = [
        ((start, given, more), (start, written, more)),
        ((start, cut), (start, end)),
        ((start, given, more, cut),) * 2,
    ]
    rows = [
        (
            archives.question(at),
            {place: [replace(archives.trace("", " 7"), thinking=pieces)] for place, pieces in enumerate(pair)},
        )
        for at, pair in enumerate(pairs)
    ]
    archives.write(tmp_path / "traces", points, rows)
    (tmp_path / "table.csv").write_text(TABLE + "\n", encoding="utf-8")
    shown = [printed(tmp_path, 80, question=f"#{at}", points="one,other") for at in range(3)]
    assert "[+Wait]" in shown[0] and "[cut: </think>]" in shown[1]
    assert "characters with 1 suppressed end," in shown[2]


def test_characters_that_are_escaped_keep_their_column(tmp_path: Path) -> None:
    text = "a\x07b\x0cc\rd \u202e\u2028\x1b[31m" + 12 * "\u200b" + " the end"
    points = [archives.point(0, "one"), archives.point(1, "other")]
    row = (archives.question(0, text, gold=text), {place: [archives.trace(text, text)] for place in range(2)})
    archives.write(tmp_path / "traces", points, [row])
    (tmp_path / "table.csv").write_text(TABLE + "\n", encoding="utf-8")
    for columns in (40, 120):
        shown = printed(tmp_path, columns, question="#0", points="one,other")
        assert max(map(len, shown.splitlines())) <= columns
        assert shown.count("end") >= 8 and "\\x07" in shown and "\\x0c" in shown and "\\r" not in shown


def test_a_published_result_is_shown_by_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "results/published/budget_scan", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [point["label"] for point in data["points"]][:2] == ["max 8", "max 16"]
    assert any(each.startswith("**Verdict.**") for each in data["report"])


def test_a_result_without_an_archive_says_how_to_get_one(tmp_path: Path) -> None:
    point = scans.point(8, 0)
    out = scans.run(tmp_path / "store", [point, scans.point(16, 0)], [scans.rows(1, 8, 8, 8), scans.rows(4, 8, 9, 16)])
    assert len(list(show(out, ShowRequest()).blocks)) > 3
    if not (out / "traces").is_dir():
        with pytest.raises(InputError, match="has no traces/: it was copied without it, or published"):
            show(out, ShowRequest(question="q00"))


def test_the_archive_of_this_file_is_whole(result: Path) -> None:
    assert len(list(open_archive(result / "traces").traces())) == 12
