"""The trace archive: what is written is read back exactly, and each text is kept once."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.records import AnswerEnd, Ending, Outcome
from s1.report.trace_archive import Cell, Origin, Piece, TracePlace, common_prefix, open_archive
from s1.report.trace_archive.files import ArchiveError, cell_of, state_of
from s1.report.trace_archive.rows import EXTRACTED_SHOWN, ArchivedTrace
from s1.report.trace_archive.texts import TextStore, shared_length, text_of
from s1.report.trace_archive.writer import CHUNK_CHARACTERS, ArchiveWriter
from tests.support.archives import point, question, size_of, trace, write

WORDS = [
    "so",
    "the",
    "sum",
    "is",
    "not",
    "12",
    "but",
    "\\frac{3}{4}",
    "of",
    "😀",
    "wait",
    "数",
    "x = 7",
    "then",
    "check",
]


def words(count: int, seed: int) -> str:
    chosen = random.Random(seed)
    return " ".join(chosen.choice(WORDS) + str(chosen.randrange(1000)) for _ in range(count))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="ab\u00e9\U0001f600", max_size=60), max_size=12))
def test_every_text_is_read_back_whatever_was_stored_before(texts: list[str]) -> None:
    store = TextStore()
    refs = [store.add(text) for text in texts]
    assert [text_of(store.nodes, ref) for ref in refs] == texts


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab"), st.text(alphabet="ab"))
def test_the_shared_beginning_is_the_longest(one: str, other: str) -> None:
    shared = shared_length(one, other)
    assert one[:shared] == other[:shared]
    assert shared == min(len(one), len(other)) or one[shared] != other[shared]


def test_prefixes_cost_nothing_in_any_order() -> None:
    whole = words(500, 1)
    cuts = [whole[: len(whole) * part // 40] for part in range(1, 41)]
    for texts in (cuts, cuts[::-1], random.Random(0).sample(cuts, 40)):
        store = TextStore()
        refs = [store.add(text) for text in texts]
        assert [text_of(store.nodes, ref) for ref in refs] == texts
        assert sum(len(rest) for _, _, rest in store.nodes) == len(whole)


def test_every_cell_has_a_character_of_its_own() -> None:
    cells = [
        Cell(correct, outcome, ending, is_cut, loops, 0, None)
        for correct in (False, True)
        for is_cut in (False, True)
        for loops in (False, True)
        for outcome in Outcome
        for ending in Ending
    ]
    states = [state_of(cell) for cell in cells]
    assert len(set(states)) == len(cells) and " " not in states
    assert [cell_of(state, 0, None) for state in states] == cells


def test_a_trace_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    pieces = [Piece("I add.", Origin.SAMPLED), Piece("Wait", Origin.APPENDED), Piece(" 数 😀 7", Origin.SAMPLED)]
    traces = [
        trace("I add 3 and 4.", " 7"),
        trace("", " 8", pieces=pieces, waits=1, correct=False, loops=True, note="timed_out", branches=4),
        trace("I add", " 7 </s", cut=True, graded="Final Answer: 7", answer_end=AnswerEnd.CAP),
        trace("", "", prompt=None, answer_tokens=None, extracted=None, outcome=Outcome.NONE, ending=Ending.NONE),
        trace("x", " 9", graded="unlike anything that was written", pieces=()),
        replace(trace("", ""), thinking=()),
    ]
    points = [point(place, f"p{place}") for place in range(len(traces))]
    folder = write(tmp_path, points, [(question(0, "Add 3 and 4."), {i: [each] for i, each in enumerate(traces)})])
    archive = open_archive(folder)
    assert list(archive.points) == points
    assert archive.question(0) == question(0, "Add 3 and 4.")
    assert [archive.trace(0, place, 0) for place in range(len(traces))] == traces
    assert [archive.cell(0, place, 0) for place in range(len(traces))] == [each.cell for each in traces]


def test_seeds_samples_tasks_and_points_that_share_scores_are_all_found(tmp_path: Path) -> None:
    one = point(0, "max 8", seeds=(3, 5), samples=2)
    votes = replace(one, id=1, label="vote of 2")  # the same samples, aggregated
    other = point(2, "max 8", series=("task gpqa",))
    rows = [
        (question(0), {0: [trace("a", "1"), trace("b", "2")], 1: [trace("c", "3"), trace("d", "4")]}),
        (question(1, task="gpqa", question_id="q00"), {2: [trace("e", "5")]}),
    ]
    archive = open_archive(write(tmp_path, [one, votes, other], rows))
    assert [(*place, each.answer) for _, place, each in archive.traces(point_ids=[1])] == [
        (0, 3, 0, "1"),
        (0, 3, 1, "2"),
        (0, 5, 0, "3"),
        (0, 5, 1, "4"),
    ]
    assert [place for _, place, _ in archive.traces([1])] == [TracePlace(1, 0, 0)]
    assert archive.rows("q00") == [0, 1] and archive.questions[1].task == "gpqa"
    assert archive.points[0].scores == ("scores/000000000003@d0e3", "scores/000000000005@d0e5")
    assert archive.cell_or_none(1, 0, 3) is None
    for place in [(1, 0, 3, 0), (0, 0, 4, 0), (0, 0, 3, 2), (0, 2, 0, 0), (2, 2, 0, 0), (-1, 0, 3, 0)]:
        with pytest.raises(LookupError):
            archive.cell(*place)
        with pytest.raises(LookupError):
            archive.trace(*place)


def test_flips_are_traces_that_only_one_of_two_points_gets_right(tmp_path: Path) -> None:
    right = [(True, True), (True, False), (False, True), (False, False)]
    rows = [(question(i), {0: [trace("a", "1", a)], 1: [trace("ab", "1", b)]}) for i, (a, b) in enumerate(right)]
    rows.append((question(4), {0: [trace("a", "1")]}))  # only one point has it
    archive = open_archive(write(tmp_path, [point(0, "max 1"), point(1, "max 2")], rows))
    assert [place.row for place in archive.flips(0, 1)] == [1, 2] == [place.row for place in archive.flips(1, 0)]


def test_the_common_prefix_of_two_traces_ignores_how_they_are_divided() -> None:
    one = [Piece("I add 3", Origin.SAMPLED), Piece("</think>", Origin.CUT)]
    other = [Piece("I", Origin.SAMPLED), Piece(" add 3 and 4", Origin.SAMPLED)]
    assert common_prefix(one, other) == common_prefix(other, one) == len("I add 3")
    assert common_prefix(one, one) == len("I add 3</think>") and common_prefix([], one) == 0


def test_the_common_prefix_ends_where_one_trace_was_given_what_the_other_wrote() -> None:
    start, rest = Piece("I add 3", Origin.SAMPLED), Piece("and 4", Origin.SAMPLED)
    given, written = Piece("Wait, ", Origin.APPENDED), Piece("Wait, ", Origin.SAMPLED)
    end_removed = Piece("", Origin.APPENDED)
    assert common_prefix([start, given, rest], [start, written, rest]) == len("I add 3")
    assert common_prefix([start, end_removed, rest], [start, rest]) == len("I add 3")
    assert common_prefix([start, Piece("</think>", Origin.CUT)], [start, Piece("</think>", Origin.DELIMITER)]) == 7
    assert common_prefix([start, given, rest], [start, given, rest]) == len("I add 3Wait, and 4")


def budgets(folder: Path, count: int) -> Path:
    """20 questions whose thinking is cut at `count` places, the last one being its end."""
    rows = []
    for row in range(20):
        whole = words(400, row)
        cuts = {i: [trace(whole[: len(whole) * (i + 1) // count], " 7", cut=i + 1 < count)] for i in range(count)}
        rows.append((question(row), cuts))
    return write(folder, [point(i, f"max {i}") for i in range(count)], rows)


def test_an_archive_of_many_budgets_is_about_as_large_as_that_of_the_largest(tmp_path: Path) -> None:
    alone, six, forty = (size_of(budgets(tmp_path / str(count), count)) for count in (1, 6, 40))
    assert six < 1.15 * alone and forty < 1.8 * alone  # what each budget adds: its cells and its cuts


def test_questions_in_a_row_share_a_file_up_to_a_size(tmp_path: Path) -> None:
    long = words(CHUNK_CHARACTERS // 16, 0)
    rows = [(question(row), {0: [trace(f"{row} {long if row % 2 else ''}", "7")]}) for row in range(8)]
    archive = open_archive(write(tmp_path, [point(0, "natural end")], rows))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert 3 <= len(names) <= 6 and names[0] == "0000.js" and names[-1] == "index.js"
    assert [each.thinking for _, _, each in archive.traces()] == [made[0][0].thinking for _, made in rows]
    assert archive.question(7).question_id == "q07"


def test_a_long_extracted_answer_is_short_in_the_grid_and_whole_in_the_trace(tmp_path: Path) -> None:
    long = "7" * (EXTRACTED_SHOWN + 1)
    archive = open_archive(write(tmp_path, [point(0, "p")], [(question(0), {0: [trace("a", long)]})]))
    assert archive.cell(0, 0, 0).extracted == "7" * (EXTRACTED_SHOWN - 1) + "…"
    assert archive.trace(0, 0, 0).extracted == long


def test_the_same_traces_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = budgets(tmp_path / "one", 3), budgets(tmp_path / "other", 3)
    assert [path.read_bytes() for path in sorted(one.iterdir())] == [
        path.read_bytes() for path in sorted(other.iterdir())
    ]


def test_rows_out_of_order_and_missing_samples_are_refused(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path, [point(0, "p", samples=2)])
    with pytest.raises(ValueError, match="row 1: the next one is 0"):
        writer.add(question(1), {})
    with pytest.raises(ValueError, match="samples 1: the point has 2"):
        writer.add(question(0), {0: [trace("a", "1")]})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_text('s1Traces("index", "eJw=");'), "damaged"),
        (lambda path: path.write_text('s1Traces("other", "");'), "damaged"),
        (lambda path: path.write_text(path.read_text()[:-40]), "damaged"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "not a file of a trace archive"),
    ],
)
def test_a_damaged_archive_is_named(tmp_path: Path, damage: object, message: str) -> None:
    write(tmp_path, [point(0, "p")], [(question(0), {0: [trace("a", "1")]})])
    assert callable(damage)
    damage(tmp_path / "index.js")
    with pytest.raises(ArchiveError, match=message):
        open_archive(tmp_path)


def test_reading_an_archive_imports_nothing_heavy() -> None:
    program = "import sys, s1.report.trace_archive; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "transformers", "tokenizers", "pydantic"} & set(done.stdout.split())


def test_the_pieces_and_the_answer_are_the_whole_text() -> None:
    made: ArchivedTrace = trace("I add.", " 7", cut=True)
    text = "".join(piece.text for piece in made.thinking) + made.answer
    assert text == "<think>\nI add.\n</think>\nFinal Answer: 7"
