"""Best of N: the answer of the sample with the highest reward.

The expectation over all choices of k of S samples is exact: the highest reward is r in C(at most r, k) - C(less than r,
k) of C(S, k) choices, and of samples with equal rewards each is as likely to be taken.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from s1.config.schema import Aggregation
from s1.generate.methods.registry import Aggregator, reward_of
from s1.records import ScoreRow


class BestOfN(Aggregator):
    """One sample is the answer, right or wrong."""

    name = "best_of_n"
    kind = Aggregation.BEST_OF_N
    title = "best"
    needs_rewards = True

    def expected(self, scores_S: Sequence[ScoreRow], votes: int) -> float:
        by_reward: dict[float, list[bool]] = defaultdict(list)
        for score in scores_S:
            by_reward[reward_of(score)].append(score.correct)
        below, right = 0, 0.0
        for _, equal in sorted(by_reward.items()):
            choices = math.comb(below + len(equal), votes) - math.comb(below, votes)
            right += choices * sum(equal) / len(equal)
            below += len(equal)
        return right / math.comb(len(scores_S), votes)


AGGREGATOR = BestOfN()
