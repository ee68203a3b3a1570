"""Decontamination compared with a literal reimplementation of s1's code."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.config.data import Filters
from s1.data.filter import contamination_reasons
from s1.records import PoolRow
from sweep.core.typed import typed
from sweep.errors import InputError
from tests.support.pools import row

EIGHT = "find the number of primes below one hundred"
EVALUATION, EARLIER, BEFORE = (
    "shares 8 words with an evaluation",
    "shares 8 words with an earlier source",
    "asked before",
)

texts = st.lists(st.sampled_from(["a", "A", "b", "c\n"]), max_size=7).map(" ".join)
pools = st.lists(st.tuples(texts, st.sampled_from("xyz")), max_size=12).map(
    lambda rows: [row(n, question, source=source) for n, (question, source) in enumerate(rows)]
)


def grams(text: str, words: int) -> set[tuple[str, ...]]:
    split = text.lower().split()
    return {tuple(split[start : start + words]) for start in range(len(split) - words + 1)}


def by_definition(rows: Sequence[PoolRow], against: Sequence[str], words: int) -> list[str | None]:
    """Reference implementation: source by source, with sets of word tuples, as in s1's code."""
    evaluations = set().union(*(grams(text, words) for text in against))
    reasons: dict[str, str | None] = {}
    taken: set[tuple[str, ...]] = set()
    for source in dict.fromkeys(each.source for each in rows):
        members = [each for each in rows if each.source == source]
        for each in members:
            found = grams(each.question, words)
            late = f"shares {words} words with an earlier source" if found & taken else None
            reasons[each.id] = f"shares {words} words with an evaluation" if found & evaluations else late
        taken |= set().union(*(grams(each.question, words) for each in members if reasons[each.id] is None))
    asked: set[str] = set()
    for each in rows:
        question = each.question.strip()
        if reasons[each.id] is None and question in {text.strip() for text in against}:
            reasons[each.id] = "asked by an evaluation"
        elif reasons[each.id] is None:
            reasons[each.id] = BEFORE if question in asked else None
            asked.add(question)
    return [reasons[each.id] for each in rows]


@given(pools, st.lists(texts, max_size=3), st.integers(1, 6))
def test_equals_the_reference_implementation(rows: list[PoolRow], against: list[str], words: int) -> None:
    assert contamination_reasons(rows, against, words) == by_definition(rows, against, words)


@given(pools, st.lists(texts, max_size=3), st.integers(1, 6))
def test_a_second_pass_drops_nothing(rows: list[PoolRow], against: list[str], words: int) -> None:
    judged = contamination_reasons(rows, against, words)
    kept = [each for each, reason in zip(rows, judged, strict=True) if reason is None]
    assert contamination_reasons(kept, against, words) == [None] * len(kept)


@given(st.lists(st.sampled_from(EIGHT.split()), min_size=7, max_size=7).map(" ".join))
def test_a_question_of_seven_words_is_never_dropped(question: str) -> None:
    assert contamination_reasons([row(0, question)], [f"{question} {question}"], 8) == [None]


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        (EIGHT, EVALUATION),
        (f"Please {EIGHT}, and explain.", None),  # "hundred," is another word, as in s1
        (f"Please {EIGHT} , and explain.", EVALUATION),
        ("FIND the\n number\tof primes  below one hundred", EVALUATION),
        ("find the number of primes below one thousand", None),  # only seven shared words
        ("", None),
    ],
)
def test_eight_consecutive_words_match_in_any_case_and_spacing(question: str, reason: str | None) -> None:
    assert contamination_reasons([row(0, question)], [f"In this problem, {EIGHT} please."], 8) == [reason]


def test_ngrams_do_not_span_texts() -> None:
    first, second = EIGHT.split()[:4], EIGHT.split()[4:]
    assert contamination_reasons([row(0, EIGHT)], [" ".join(first), " ".join(second)], 8) == [None]


def test_overlaps_drop_later_sources_and_within_a_source_only_exact_duplicates() -> None:
    rows = [
        row(0, f"{EIGHT} a", source="first"),
        row(1, f"{EIGHT} b", source="second"),
        row(2, f"{EIGHT} c", source="first"),
        row(3, f" {EIGHT} a\n", source="first"),
    ]
    assert contamination_reasons(rows, [], 8) == [None, EARLIER, None, BEFORE]


def test_a_dropped_question_does_not_block_later_sources() -> None:
    """A question dropped for an evaluation does not claim its other words."""
    other = "let x be the smallest root of it"
    rows = [row(0, f"{EIGHT} {other}", source="first"), row(1, other, source="second")]
    assert contamination_reasons(rows, [EIGHT], 8) == [EVALUATION, None]


def test_ngram_words_below_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"ngram_words 0: below 1\. Raise it\."):
        typed(Filters, {"ngram_words": 0})


def test_a_short_question_is_dropped_if_an_evaluation_asks_the_same() -> None:
    rows = [row(1, "What is 1 + 1?"), row(2, "What is 1 + 2?")]
    assert contamination_reasons(rows, ["What is 1 + 1? "], 8) == ["asked by an evaluation", None]
