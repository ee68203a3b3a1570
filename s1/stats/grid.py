"""Score rows as arrays over R seeds, Q questions and S samples, in the same order for compared points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    correct_QS: np.ndarray  # bool; of an aggregation: the probability of its question in every sample
    votes_QS: np.ndarray  # s1/stats/votes.py: RIGHT, SILENT, or the number of a wrong answer
    thinking_tokens_QS: np.ndarray  # of an answer: of an aggregation, of all samples that it chooses
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
    return _arranged(_table(scores, name))


def aggregated(
    scores: Sequence[ScoreRow], name: str, votes: int | None, expected: Callable[[Sequence[ScoreRow], int], float]
) -> Grid:
    """The same for answers made of several samples: `expected` of the samples of a question and the number of votes.

    `votes` None: all samples. Every sample stands for the probability of its question, so that all statistics see the
    mean of a question and how many samples are behind it. benchmarks/coverage.py measures the coverage for such means.
    Raises StatisticsError also for more votes than samples.
    """
    table = _table(scores, name)
    samples = len(table[0])
    chosen = samples if votes is None else votes
    if chosen > samples:
        raise StatisticsError(f"{name}: {chosen} votes of {samples} samples. Run with redo=scores.")
    whole = _arranged(table)
    if chosen == 1:  # each sample is an answer
        return whole
    expected_Q = np.array([expected(line, chosen) for line in table])
    return replace(
        whole,
        correct_QS=np.repeat(expected_Q[:, None], samples, axis=1),
        thinking_tokens_QS=chosen * whole.thinking_tokens_QS,
        answer_tokens_QS=chosen * whole.answer_tokens_QS,
    )


def _table(scores: Sequence[ScoreRow], name: str) -> list[list[ScoreRow]]:
    """Rows by question and sample, both sorted."""
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
    return [[rows[question][sample] for sample in samples] for question in sorted(rows)]


def _arranged(table: Sequence[Sequence[ScoreRow]]) -> Grid:
    return Grid(
        questions=tuple(line[0].question_id for line in table),
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
