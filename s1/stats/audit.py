"""The forcing audit: did every trace of a point get the budget that was asked for?

An average hides a trace that ran over its budget, and a budget that the engine silently ignored looks like a finding.
So the audit looks at every trace, and a point with one that broke its budget is invalid, with the reason as a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from s1.records import AnswerEnd, Ending, Outcome, Score


@dataclass(frozen=True)
class Requested:
    """What a point asks of each trace, in thinking tokens and suppressed ends."""

    max_thinking_tokens: int | None = None  # None: as far as the context allows
    min_thinking_tokens: int = 0
    waits: int = 0

    @property
    def bounds_length(self) -> bool:
        return self.max_thinking_tokens is not None or self.min_thinking_tokens > 0

    @property
    def is_forcing(self) -> bool:
        return self.bounds_length or self.waits > 0

    @property
    def extends(self) -> bool:
        """The end of the thinking is held back."""
        return self.min_thinking_tokens > 0 or self.waits > 0


@dataclass(frozen=True)
class Audit:
    """Counts and shares over all traces of a point; `problems` is empty exactly if it is valid."""

    requested: Requested
    traces: int
    mean_thinking_tokens: float
    max_thinking_tokens: int
    forced_share: float  # thinking ended by the budget or the context
    mean_waits: float
    all_waits_share: float | None  # traces that got every requested Wait; None: none requested
    no_answer_share: float
    over_budget: int  # traces, must be 0
    under_minimum: int  # traces that ended short of the minimum uncapped, must be 0
    cut_by_cap: int  # answers
    cut_by_context: int  # answers
    answers_cut_share: float
    thinks_on_share: float  # traces that think on in their answer
    waits_happened: bool  # in most traces
    unmet: list[str]  # what was asked and did not happen, though nothing broke; a sentence each
    problems: list[str]

    @property
    def valid(self) -> bool:
        return not self.problems


def audit(scores: Sequence[Score], requested: Requested) -> Audit:
    """Hold every trace against what was requested."""
    traces = len(scores)

    def count(test: Callable[[Score], bool]) -> int:
        return sum(map(test, scores))

    return Audit(
        requested=requested,
        traces=traces,
        mean_thinking_tokens=sum(score.thinking_tokens for score in scores) / traces,
        max_thinking_tokens=max(score.thinking_tokens for score in scores),
        forced_share=count(lambda score: score.ending is Ending.FORCED) / traces,
        mean_waits=sum(score.waits for score in scores) / traces,
        all_waits_share=count(lambda score: score.waits >= requested.waits) / traces if requested.waits else None,
        no_answer_share=count(lambda score: score.outcome is Outcome.NONE) / traces,
        over_budget=count(lambda score: _is_over(score, requested)),
        under_minimum=count(lambda score: _is_under(score, requested)),
        cut_by_cap=count(lambda score: score.answer_end is AnswerEnd.CAP),
        cut_by_context=count(lambda score: score.answer_end is AnswerEnd.CONTEXT),
        answers_cut_share=count(lambda score: score.answer_end in (AnswerEnd.CAP, AnswerEnd.CONTEXT)) / traces,
        thinks_on_share=count(lambda score: score.thinks_on_tokens > 0) / traces,
        waits_happened=count(lambda score: score.waits >= requested.waits) >= traces / 2,
        unmet=list(_unmet(scores, requested)),
        problems=list(_problems(scores, requested)),
    )


def _is_over(score: Score, requested: Requested) -> bool:
    return requested.max_thinking_tokens is not None and score.thinking_tokens > requested.max_thinking_tokens


def _is_under(score: Score, requested: Requested) -> bool:
    return not _is_capped(score, requested) and score.thinking_tokens < requested.min_thinking_tokens


def _is_capped(score: Score, requested: Requested) -> bool:
    # The original code can cut a trace and still call its end natural, so the length is looked at as well.
    return score.ending is Ending.FORCED or score.thinking_tokens == requested.max_thinking_tokens


def _lacks_waits(score: Score, requested: Requested) -> bool:
    return not _is_capped(score, requested) and score.waits < requested.waits


def _has_surplus_waits(score: Score, requested: Requested) -> bool:
    # A minimum suppresses ends as well, so only without one is the number of Waits an upper limit.
    return requested.min_thinking_tokens == 0 and score.waits > requested.waits


def _has_no_thinking(score: Score, requested: Requested) -> bool:
    return requested.is_forcing and score.ending is Ending.NONE


def _was_not_asked(score: Score, requested: Requested) -> bool:
    return score.ending is Ending.FORCED and score.answer_tokens is None


BROKEN: tuple[tuple[Callable[[Score, Requested], bool], str], ...] = (
    (_is_over, "think longer than {requested.max_thinking_tokens} tokens"),
    (_is_under, "ended uncut before {requested.min_thinking_tokens} thinking tokens"),
    (_lacks_waits, "ended uncut before {requested.waits} ends were suppressed"),
    (_has_surplus_waits, "had more than {requested.waits} ends suppressed"),
    (_has_no_thinking, "have no thinking section to force"),
    (_was_not_asked, "were cut and never asked for an answer"),
)


def _unmet(scores: Sequence[Score], requested: Requested) -> Iterator[str]:
    lacking = sum(score.waits < requested.waits for score in scores)
    if lacking:
        mean = sum(score.waits for score in scores) / len(scores)
        yield (
            f"{requested.waits} suppressed ends were asked of each trace, {mean:.1f} happened on average, and all"
            f" of them in {len(scores) - lacking} of {len(scores)} traces."
        )


def _problems(scores: Sequence[Score], requested: Requested) -> Iterator[str]:
    for is_broken, how in BROKEN:
        broken = [score for score in scores if is_broken(score, requested)]
        if broken:
            first = broken[0].question_id
            yield f"{len(broken)} of {len(scores)} traces {how.format(requested=requested)} (first: question {first})."
