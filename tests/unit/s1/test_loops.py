"""Loops and distinct-4: against a search of every period, and on texts that repeat for good and for bad reasons."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.config.schema import Dial
from s1.dial import Family
from s1.records import ScoreRow, write_rows
from s1.report.curve import find
from s1.report.repetition import repetitions
from s1.report.series import Scored
from s1.stages import CurveConfig
from s1.stats.interval import StatisticsError
from s1.stats.loops import COPIES, LOOP_TOKENS, distinct, loops
from tests.support.scans import COST, FINGERPRINT, STATISTICS, point, rows, trace_of

PHRASES = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 5), st.integers(0, 9)), max_size=5
)


def words(text: str) -> np.ndarray:
    """One id per word, as a tokenizer would give."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(word, len(numbers)) for word in text.split()], dtype=np.int64)


def loops_by_search(ids: list[int]) -> bool:
    """The definition: for some period, enough tokens in succession equal the token one period earlier."""
    for period in range(1, len(ids) // COPIES + 1):
        equal = 0
        for place in range(period, len(ids)):
            equal = equal + 1 if ids[place] == ids[place - period] else 0
            if equal and equal + period >= max(COPIES * period, LOOP_TOKENS):
                return True
    return False


@given(PHRASES)
def test_a_loop_is_found_exactly_where_a_search_of_every_period_finds_one(phrases: list) -> None:
    ids = [token for phrase, copies, more in phrases for token in phrase * copies + phrase[:more]]
    assert loops(np.array(ids, dtype=np.int64)) == loops_by_search(ids)


@given(PHRASES, st.lists(st.integers(0, 5), max_size=30))
def test_thinking_that_looped_keeps_having_looped(phrases: list, after: list[int]) -> None:
    ids = [token for phrase, copies, _ in phrases for token in phrase * copies]
    assert loops(np.array(ids, dtype=np.int64)) <= loops(np.array([*ids, *after], dtype=np.int64))


SENTENCE = "Wait, let me check this again. The sum of the roots is 7, so the answer is 12."  # 17 words
STORY = " ".join(f"Step {number}: we have {number} cases and {number * 7 % 13} remain." for number in range(40))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{STORY} {' '.join([SENTENCE] * 3)}", True),  # at the end, where a budget cuts it
        (f"{' '.join([SENTENCE] * 8)} {STORY}", True),  # left again
        (f"{STORY} {' '.join([STORY] * 2)}", True),  # a whole page, three times
        (" ".join(["Wait,"] * LOOP_TOKENS), True),
        (" ".join(["Wait,"] * (LOOP_TOKENS - 1)), False),  # so does a long row of digits
        (f"{STORY} {SENTENCE} {SENTENCE}", False),  # checked once
        (f"{SENTENCE} {STORY} {SENTENCE} {STORY} {SENTENCE}", False),  # comes back to it; nothing is in a row
        (STORY, False),  # like sentences with other numbers
        (" ".join(f"{SENTENCE} Try {number}." for number in range(9)), False),
        ("", False),
        ("So 12.", False),
    ],
)
def test_texts_that_loop_and_texts_that_only_repeat(text: str, expected: bool) -> None:
    assert loops(words(text)) is expected


def test_passes_of_the_laptop_task_do_not_loop_until_they_are_equal() -> None:
    family, random = Family(Dial(waits_max=3, wait_probability=1.0)), Random(0)
    for problem in (next(family.training_problems(random)) for _ in range(50)):
        thinking = family.reason(problem, random).thinking
        passes = thinking.split("\n")
        assert len(passes) == 4 and not loops(words(thinking))
        assert loops(words("\n".join([thinking, *[passes[-1]] * 9])))


def test_a_long_phrase_is_found_in_a_trace_of_sixteen_thousand_tokens() -> None:
    phrase = np.random.default_rng(0).integers(0, 150_000, 5000)
    assert loops(np.tile(phrase, 3)) and not loops(np.tile(phrase, 3)[:-1])


def test_distinct_4_is_the_share_of_different_four_grams() -> None:
    assert distinct(np.arange(10)) == 1.0
    assert distinct(np.array([1, 2, 3, 4, 1, 2, 3, 4])) == 4 / 5
    assert distinct(np.array([5] * 10)) == pytest.approx(1 / 7)
    assert [distinct(np.arange(size)) for size in range(5)] == [None, None, None, None, 1.0]


# ------------------------------------------------------------------------------------------------ in the report


def written(folder: Path, scores: list[ScoreRow], thinking: dict[str, list[int]]) -> Path:
    folder.mkdir()
    FINGERPRINT.write(folder)
    write_rows(folder / "traces.jsonl", [trace_of(row, thinking.get(row.question_id)) for row in scores])
    return folder


def test_the_share_of_looping_traces_of_a_point_is_counted_over_its_seeds(tmp_path: Path) -> None:
    points = [point(None, 1, seed=seed) for seed in (0, 1)]
    scores = rows(4, 8, 60, None, 1)
    looping: list[dict[str, list[int]]] = [{"q01": [7, 8, 9] * 40}, {}]
    scored = [
        Scored(each, f"key{index}", scores, written(tmp_path / f"{index}", scores, looping[index]))
        for index, each in enumerate(points)
    ]
    found = find(CurveConfig(points, STATISTICS, COST), scored, repeated=repetitions(scored))
    (measured,) = found.points()
    assert measured.loop_share is not None and measured.loop_share.value == 1 / 16
    assert measured.distinct_4 == pytest.approx((15 + 3 / 117) / 16)
    assert any("Wait x1 (6.2% of traces)" in note for note in found.series[0].notes)


def test_the_delimiters_and_the_answer_do_not_count(tmp_path: Path) -> None:
    (row,) = rows(1, 1, 60)
    trace = trace_of(row, list(range(30)))
    answer = {"part": "answer", "origin": "sampled", "ids": [4] * 90, "ended_by": None}
    more = {"part": "thinking", "origin": "forced", "ids": list(range(30)) * 2, "ended_by": None}
    for name, segments, expected in (("apart", [answer], False), ("across", [more], True)):
        (tmp_path / name).mkdir()
        trace.segments[1:] = segments
        write_rows(tmp_path / name / "traces.jsonl", [trace])
        (found,) = repetitions([Scored(point(None, 0), name, [row], tmp_path / name)]).values()
        assert found.loops_QS.tolist() == [[expected]]


def test_traces_with_a_missing_sample_are_refused(tmp_path: Path) -> None:
    scores = [*rows(1, 2, 9), *rows(1, 1, 9, sample=1)]
    traces = written(tmp_path / "traces", scores, {})
    with pytest.raises(StatisticsError, match=r"different numbers of samples\. Run with redo=traces\."):
        repetitions([Scored(point(None, 0), "key", scores, traces)])
