"""The forcing audit: a trace that broke its budget makes the point invalid, with a sentence that says why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s1.records import Ending, Outcome, Score
from s1.stats.audit import Requested, audit

ENDED = Score("q1", 0, "7", "7", True, Outcome.ANSWERED, Ending.NATURAL, 20, 3, 0, 25)
CUT = replace(ENDED, question_id="q2", outcome=Outcome.FORCED, ending=Ending.FORCED, thinking_tokens=16)
UNREADABLE = replace(ENDED, question_id="q3", extracted=None, correct=False, outcome=Outcome.NONE)


def test_a_point_whose_traces_all_kept_the_budget_is_valid():
    found = audit([CUT, replace(ENDED, thinking_tokens=9), replace(UNREADABLE, thinking_tokens=12)], Requested(16))
    assert found.valid and found.problems == []
    assert (found.traces, found.max_thinking_tokens, found.over_budget, found.under_minimum) == (3, 16, 0, 0)
    assert found.mean_thinking_tokens == pytest.approx(37 / 3)
    assert found.forced_share == found.no_answer_share == pytest.approx(1 / 3)
    assert found.all_waits_share is None


def test_one_trace_over_the_budget_makes_the_point_invalid():
    found = audit([CUT, ENDED], Requested(16))
    assert found.over_budget == 1
    assert found.problems == ["1 of 2 traces think longer than 16 tokens (first: question q1)."]


def test_a_trace_that_stopped_short_of_the_minimum_makes_the_point_invalid():
    found = audit([ENDED], Requested(min_thinking_tokens=64))
    assert found.under_minimum == 1
    assert found.problems == ["1 of 1 traces ended uncut before 64 thinking tokens (first: question q1)."]


def test_a_trace_that_was_cut_short_of_the_minimum_is_no_fault_of_the_forcing():
    assert audit([CUT], Requested(min_thinking_tokens=64)).valid


def test_waits_are_counted_and_a_capped_trace_may_lack_some():
    requested = Requested(waits=2)
    found = audit([replace(ENDED, waits=2), replace(CUT, waits=1)], requested)
    assert found.valid
    assert (found.mean_waits, found.all_waits_share) == (1.5, 0.5)


def test_a_trace_at_its_maximum_was_cut_whatever_its_ending_says():
    """The original code cuts all rounds together afterwards, and keeps the natural end of the last."""
    assert audit([replace(ENDED, waits=1)], Requested(max_thinking_tokens=20, waits=2)).valid


def test_a_trace_that_ended_by_itself_without_its_waits_makes_the_point_invalid():
    found = audit([replace(ENDED, waits=2), replace(ENDED, waits=1)], Requested(waits=2))
    assert found.problems == ["1 of 2 traces ended uncut before 2 ends were suppressed (first: question q1)."]


def test_more_waits_than_requested_are_a_problem_unless_a_minimum_suppresses_ends_too():
    assert audit([replace(ENDED, waits=3)], Requested(waits=2)).problems == [
        "1 of 1 traces had more than 2 ends suppressed (first: question q1)."
    ]
    assert audit([replace(ENDED, waits=3)], Requested(min_thinking_tokens=10)).valid


def test_forcing_without_a_thinking_section_is_a_problem_and_plain_generation_without_one_is_not():
    plain = replace(ENDED, ending=Ending.NONE, thinking_tokens=0)
    assert audit([plain], Requested()).valid
    assert audit([plain], Requested(16)).problems == [
        "1 of 1 traces have no thinking section to force (first: question q1)."
    ]


def test_a_cut_trace_that_was_never_asked_for_an_answer_is_a_problem_and_one_that_said_nothing_is_not():
    unasked = replace(CUT, answer_tokens=None, outcome=Outcome.NONE)
    assert audit([unasked, CUT, ENDED], Requested(32)).problems == [
        "1 of 3 traces were cut and never asked for an answer (first: question q2)."
    ]
    assert audit([replace(unasked, answer_tokens=0)], Requested(32)).valid
