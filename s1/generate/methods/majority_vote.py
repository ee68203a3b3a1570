"""Majority vote: the most common answer of several samples (self-consistency; paper, Figure 4b).

Right answers are one class in any spelling, wrong ones are told apart by their normalized text, and a tie counts as the
share of its answers that are right. The expectation over all choices of samples is exact (s1/evaluate/votes.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from s1.config.schema import Aggregation
from s1.evaluate.votes import majority, tally
from s1.evaluate.votes import votes as votes_of
from s1.generate.methods.registry import Aggregator
from s1.records import ScoreRow


class MajorityVote(Aggregator):
    """Every sample has one vote."""

    name = "majority_vote"
    kind = Aggregation.MAJORITY_VOTE
    title = "majority"

    def expected(self, scores_S: Sequence[ScoreRow], votes: int) -> float:
        return majority(tally(votes_of(scores_S)))[votes - 1]


AGGREGATOR = MajorityVote()
