"""The audit: a trace that broke a rule makes the point invalid, with a sentence; what merely did not happen is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s1.config.schema import Budget, Compat, ComputeRequest, Forcing
from s1.generate.audit import Audit, audit, label_as_measured
from s1.records import AnswerEnd, Ending, Outcome, ScoreRow
from tests.support.words import budget

ENDED = ScoreRow("q1", 0, "7", "7", True, Outcome.ANSWERED, Ending.NATURAL, 20, 3, AnswerEnd.STOP, 0, 0, 25)
CUT = replace(ENDED, question_id="q2", outcome=Outcome.FORCED, ending=Ending.FORCED, thinking_tokens=16)
UNREADABLE = replace(ENDED, question_id="q3", extracted=None, correct=False, outcome=Outcome.NONE)
CAPPED = replace(ENDED, question_id="q4", answer_end=AnswerEnd.CAP, correct=False)
AT_CONTEXT = replace(ENDED, question_id="q5", answer_end=AnswerEnd.CONTEXT, correct=False)


def request(most: int | None = None, **fields: object) -> ComputeRequest:
    return ComputeRequest(budget(most, **{"answer_tokens": None, **fields}))


def label_of(found: Audit) -> str:
    return label_as_measured(found.request, found)


def test_a_point_whose_traces_all_kept_the_budget_is_valid() -> None:
    found = audit([CUT, replace(ENDED, thinking_tokens=9), replace(UNREADABLE, thinking_tokens=12)], request(16))
    assert found.valid and found.problems == found.unmet == []
    assert (found.traces, found.max_thinking_tokens, found.over_budget, found.under_minimum) == (3, 16, 0, 0)
    assert found.mean_thinking_tokens == pytest.approx(37 / 3)
    assert found.forced_share == found.no_answer_share == pytest.approx(1 / 3)
    assert found.all_waits_share is None
    assert (found.cut_by_cap, found.cut_by_context, found.thinks_on_share) == (0, 0, 0.0)


def test_one_trace_over_the_budget_makes_the_point_invalid() -> None:
    found = audit([CUT, ENDED], request(16))
    assert found.over_budget == 1
    assert found.problems == ["1 of 2 traces think longer than 16 tokens (first: question q1)."]


def test_a_trace_that_stopped_short_of_the_minimum_makes_the_point_invalid() -> None:
    found = audit([ENDED], request(min_thinking_tokens=64))
    assert found.under_minimum == 1
    assert found.problems == ["1 of 1 traces ended uncut before 64 thinking tokens (first: question q1)."]


def test_a_trace_that_the_context_cut_short_of_the_minimum_is_no_fault_of_the_forcing_and_is_said() -> None:
    found = audit([CUT], request(min_thinking_tokens=64))
    assert found.valid
    assert found.unmet[0] == (
        "1 of 1 traces were cut by the context before the minimum of 64 thinking tokens (first: question q2)."
    )


def test_waits_are_counted_and_a_capped_trace_may_lack_some() -> None:
    found = audit([replace(ENDED, waits=2), replace(CUT, waits=1)], request(waits=2))
    assert found.valid and found.waits_happened
    assert (found.mean_waits, found.all_waits_share) == (1.5, 0.5)
    assert label_of(found) == "Wait x2"
    assert found.unmet[0] == (
        "Wait x2 was asked, and x1.5 happened on average: in 1 of 2 traces the context ended the thinking before."
    )


def test_a_label_does_not_claim_waits_that_did_not_happen() -> None:
    """Hmm x3 as the laptop model took it: its first thought after Hmm never ended."""
    found = audit([replace(CUT, waits=1)] * 3, request(waits=3, continuation="Hmm"))
    assert found.valid and not found.waits_happened
    assert label_of(found) == "Hmm x3 asked, x1.0 happened"
    assert "Hmm x3 was asked, and x1.0 happened on average: in 3 of 3 traces the context ended" in found.unmet[0]


def test_what_ended_the_thinking_before_its_waits_is_told_apart() -> None:
    at_maximum = audit([replace(CUT, waits=1), replace(ENDED, thinking_tokens=9, waits=2)], request(16, waits=2))
    assert at_maximum.unmet == [
        "Wait x2 was asked, and x1.5 happened on average: in 1 of 2 traces the maximum ended the thinking before."
    ]
    both = audit([CUT, replace(CUT, thinking_tokens=12)], request(16, waits=2, continuation=""))
    assert label_of(both) == "suppressed end x2 asked, x0.0 happened, max 16"
    assert both.unmet == [
        "suppressed end x2 was asked, and x0.0 happened on average: in 2 of 2 traces the maximum or the context ended"
        " the thinking before.",
        "1 of 2 traces were cut by the context before the maximum of 16 thinking tokens (first: question q2).",
    ]


def test_a_natural_end_that_the_context_brought_is_not_claimed() -> None:
    found = audit([CUT, CUT, ENDED], request())
    assert found.valid
    assert label_of(found) == "natural end asked, mostly cut by the context"
    assert found.unmet == [
        "2 of 3 traces did not end by themselves: the context cut their thinking (first: question q2)."
    ]
    assert label_of(audit([CUT, ENDED], request())) == "natural end"


def test_a_trace_at_its_maximum_was_cut_whatever_its_ending_says() -> None:
    """The original code cuts all rounds together afterwards, and keeps the natural end of the last."""
    assert audit([replace(ENDED, waits=1)], request(20, waits=2, compat=Compat.S1)).valid


def test_a_trace_that_ended_by_itself_without_its_waits_makes_the_point_invalid() -> None:
    found = audit([replace(ENDED, waits=2), replace(ENDED, waits=1)], request(waits=2))
    assert found.problems == ["1 of 2 traces ended uncut with fewer than 2 ends suppressed (first: question q1)."]
    assert found.unmet == []


def test_more_waits_than_requested_are_a_problem_unless_a_minimum_suppresses_ends_too() -> None:
    assert audit([replace(ENDED, waits=3)], request(waits=2)).problems == [
        "1 of 1 traces had more than 2 ends suppressed (first: question q1)."
    ]
    assert audit([replace(ENDED, waits=3)], request(min_thinking_tokens=10)).valid


def test_forcing_without_a_thinking_section_is_a_problem_and_plain_generation_without_one_is_not() -> None:
    plain = replace(ENDED, ending=Ending.NONE, thinking_tokens=0)
    assert audit([plain], ComputeRequest(Budget(Forcing.NONE, None, 0, 0, "", None))).valid
    assert audit([plain], request(16)).problems == [
        "1 of 1 traces have no thinking section to force (first: question q1)."
    ]


def test_a_cut_trace_that_was_never_asked_for_an_answer_is_a_problem_and_one_that_said_nothing_is_not() -> None:
    unasked = replace(CUT, answer_tokens=None, answer_end=AnswerEnd.NONE, outcome=Outcome.NONE)
    assert audit([unasked, CUT, ENDED], request(32)).problems == [
        "1 of 3 traces were cut and never asked for an answer (first: question q2)."
    ]
    assert audit([replace(unasked, answer_tokens=0)], request(32)).valid


# --- the end of the answer


@pytest.mark.parametrize(("cut", "of", "valid"), [(1, 2, True), (2, 12, False), (3, 300, True), (4, 300, False)])
def test_more_than_one_answer_in_a_hundred_cut_by_the_cap_makes_the_point_invalid(
    cut: int, of: int, valid: bool
) -> None:
    found = audit([CAPPED] * cut + [ENDED] * (of - cut), request(answer_tokens=2))
    assert (found.cut_by_cap, found.answers_cut_share) == (cut, pytest.approx(cut / of))
    assert found.valid is valid
    if not valid:
        assert found.problems == [
            f"{cut} of {of} answers were cut after budget.answer_tokens 2 (first: question q4)."
            " Raise budget.answer_tokens, or set it to null."
        ]


@pytest.mark.parametrize("compat", Compat)
def test_the_cap_is_held_against_every_method(compat: Compat) -> None:
    assert not audit([CAPPED] * 2, request(answer_tokens=3, compat=compat)).valid
    instructed = replace(request(answer_tokens=3), instruction="Think for up to 64 tokens.")
    assert not audit([CAPPED] * 2, instructed).valid


def test_answers_cut_by_the_context_stay_and_their_weight_is_known() -> None:
    found = audit([AT_CONTEXT, replace(AT_CONTEXT, correct=True), ENDED, UNREADABLE], request())
    assert found.valid
    assert (found.cut_by_cap, found.cut_by_context, found.answers_cut_share) == (0, 2, 0.5)
    assert found.accuracy_if_cut_were_right == 0.75


def test_thinking_behind_the_end_is_counted() -> None:
    found = audit([replace(CUT, thinks_on_tokens=30), CUT, ENDED, ENDED], request(32))
    assert (found.thinks_on_share, found.mean_thinks_on_tokens) == (0.25, 7.5)
    assert found.valid
