"""Weighted vote: the answer whose samples have the largest sum of rewards (weighted best-of-N).

The classes of answers are those of the majority vote (s1/evaluate/votes.py), and a tie counts as the share of its
answers that are right. A sample without a readable answer has no vote. Rewards are weights, so they must not be
negative.

The expectation over the choices of k of S samples is exact while there are at most `EXACT_CHOICES` of them, which holds
for every k of 16 samples. Beyond, it is the mean over `DRAWN_CHOICES` choices, drawn by a generator with a fixed seed
and the same for all questions; the standard error of a question is then at most half a percentage point.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

from s1.config.schema import Aggregation, ConfigError
from s1.evaluate.votes import RIGHT, SILENT
from s1.evaluate.votes import votes as votes_of
from s1.generate.methods.registry import Aggregator, reward_of
from s1.records import ScoreRow

if TYPE_CHECKING:  # planning imports this module and must not wait for numpy
    import numpy as np

EXACT_CHOICES = 20_000
DRAWN_CHOICES = 10_000
SEED = 0
SAME_WEIGHT = 1e-9  # relative; smaller differences of sums are rounding


class WeightedVote(Aggregator):
    """Every sample has a vote of the weight of its reward."""

    name = "weighted_vote"
    kind = Aggregation.WEIGHTED_VOTE
    title = "weighted vote"
    needs_rewards = True

    def choices(self, samples: int, votes: int) -> str:
        if math.comb(samples, votes) <= EXACT_CHOICES:
            return super().choices(samples, votes)
        return f"{DRAWN_CHOICES:,} random choices from {samples} samples"

    def expected(self, scores_S: Sequence[ScoreRow], votes: int) -> float:
        import numpy as np

        classes_S, weights_S = votes_of(scores_S), [_weight(score) for score in scores_S]
        answers = sorted(set(classes_S) - {SILENT})
        if RIGHT not in answers:
            return 0.0
        of_class_SA = np.array([[each == answer for answer in answers] for each in classes_S])
        chosen_DS = _choices(len(scores_S), votes)
        sums_DA = chosen_DS @ (of_class_SA * np.array(weights_S)[:, None])
        voted_DA = chosen_DS @ of_class_SA > 0
        sums_DA = np.where(voted_DA, sums_DA, -1.0)
        most_D = sums_DA.max(axis=1, keepdims=True)
        wins_DA = voted_DA & (sums_DA >= most_D - SAME_WEIGHT * np.abs(most_D))
        right_D = wins_DA[:, answers.index(RIGHT)]
        return float(np.mean(right_D / np.maximum(wins_DA.sum(axis=1), 1)))


AGGREGATOR = WeightedVote()


def _weight(score: ScoreRow) -> float:
    weight = reward_of(score)
    if weight < 0:
        raise ConfigError(
            f"budget.aggregation weighted_vote: question {score.question_id} sample {score.sample} has the reward"
            f" {weight:g}, and a weight must not be negative. Choose budget.aggregation=best_of_n, or a reward model"
            " with rewards from 0 to 1."
        )
    return weight


@cache
def _choices(samples: int, votes: int) -> np.ndarray:
    """Choices of `votes` of the samples, one per row: all of them, or a random subset."""
    import numpy as np

    if math.comb(samples, votes) <= EXACT_CHOICES:
        chosen_DK = list(combinations(range(samples), votes))
    else:
        # random() of a seeded generator is the same in every version of Python, which sample() does not promise.
        generator = random.Random(SEED)
        places = range(samples)
        ranks_DS = ([generator.random() for _ in places] for _ in range(DRAWN_CHOICES))
        chosen_DK = [sorted(places, key=ranks_S.__getitem__)[:votes] for ranks_S in ranks_DS]
    chosen_DS = np.zeros((len(chosen_DK), samples))
    np.put_along_axis(chosen_DS, np.array(chosen_DK), 1.0, axis=1)
    return chosen_DS
