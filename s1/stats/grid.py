"""Score rows as arrays over R seeds, Q questions and S samples, in the same order for compared points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from s1.records import ScoreRow
from s1.stats.interval import StatisticsError
from s1.stats.votes import votes

NAMED_IDS = 5  # missing questions named in an error


@dataclass(frozen=True)
class Grid:
    """The scores of one point, with sorted questions."""

    questions: tuple[str, ...]
    correct_QS: np.ndarray
    votes_QS: np.ndarray  # s1/stats/votes.py: RIGHT, SILENT, or the number of a wrong answer
    thinking_tokens_QS: np.ndarray
    answer_tokens_QS: np.ndarray

    @property
    def accuracy_Q(self) -> np.ndarray:
        """Share of correct samples of each question."""
        return self.correct_QS.mean(axis=1)

    @property
    def thinking_tokens_Q(self) -> np.ndarray:
        return self.thinking_tokens_QS.mean(axis=1)


@dataclass(frozen=True)
class Sampled:
    """The grids of one point, one per seed, with the same questions in the same order.

    Below 8 seeds an interval holds for these seeds only; reports add the range (s1/stats/seeds.py).
    """

    seeds: tuple[int, ...]
    grids: tuple[Grid, ...]

    @property
    def questions(self) -> tuple[str, ...]:
        return self.grids[0].questions

    @cached_property
    def correct_RQS(self) -> np.ndarray:
        return np.stack([grid.correct_QS for grid in self.grids])

    @cached_property
    def thinking_tokens_RQS(self) -> np.ndarray:
        return np.stack([grid.thinking_tokens_QS for grid in self.grids])

    @cached_property
    def answer_tokens_RQS(self) -> np.ndarray:
        return np.stack([grid.answer_tokens_QS for grid in self.grids])

    @property
    def accuracy_Q(self) -> np.ndarray:
        return self.correct_RQS.mean(axis=(0, 2))

    @property
    def thinking_tokens_Q(self) -> np.ndarray:
        return self.thinking_tokens_RQS.mean(axis=(0, 2))

    def of_seeds(self, seeds: Sequence[int]) -> Sampled:
        """The same point, restricted to these seeds."""
        kept = [(seed, grid) for seed, grid in zip(self.seeds, self.grids, strict=True) if seed in seeds]
        return Sampled(tuple(seed for seed, _ in kept), tuple(grid for _, grid in kept))


def grid(scores: Sequence[ScoreRow], name: str) -> Grid:
    """Arrange the rows of a point. Raises StatisticsError if there are none, or for duplicate or missing samples."""
    rows: dict[str, dict[int, ScoreRow]] = {}
    for score in scores:
        if score.sample in rows.setdefault(score.question_id, {}):
            raise StatisticsError(
                f"{name}: question {score.question_id} sample {score.sample} has two scores. Run with redo=scores."
            )
        rows[score.question_id][score.sample] = score
    if not rows:
        raise StatisticsError(f"{name}: no scores. Run with redo=scores.")
    samples = sorted({sample for by_sample in rows.values() for sample in by_sample})
    for question, by_sample in rows.items():
        missing = [sample for sample in samples if sample not in by_sample]
        if missing:
            raise StatisticsError(
                f"{name}: question {question} lacks samples {missing} that others have. Run with redo=scores."
            )
    questions = tuple(sorted(rows))
    table = [[rows[question][sample] for sample in samples] for question in questions]
    return Grid(
        questions=questions,
        correct_QS=np.array([[score.correct for score in line] for line in table], dtype=bool),
        votes_QS=np.array([votes(line) for line in table]),
        thinking_tokens_QS=np.array([[score.thinking_tokens for score in line] for line in table]),
        answer_tokens_QS=np.array([[score.answer_tokens or 0 for score in line] for line in table]),
    )


def require_paired(grids: Mapping[str, Grid]) -> None:
    """Raises StatisticsError, naming the missing questions, unless all points have the same ones."""
    everything = sorted({question for each in grids.values() for question in each.questions})
    for name, each in grids.items():
        answered = set(each.questions)
        missing = [question for question in everything if question not in answered]
        if missing:
            shown = ", ".join(missing[:NAMED_IDS]) + (", ..." if len(missing) > NAMED_IDS else "")
            raise StatisticsError(
                f"{name}: lacks {len(missing)} of {len(everything)} questions that other points have ({shown})."
                " Compare points with the same questions."
            )
