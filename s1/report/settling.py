"""Where the answers of a series settle, and which right answers are lost by thinking on (s1/stats/settling.py).

A line has the valid points of a series in the order of their amounts: budgets first, then the natural end, then Waits.
The thinking of each begins with that of the point before it, so a point with more Waits but a lower maximum is left
out. Only methods whose amounts extend each other have such a line: an instruction starts another thinking, and a
warning comes earlier at a lower maximum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from s1.config.schema import Statistics
from s1.evaluate.graders import normalised
from s1.generate.methods.registry import method_of
from s1.records import ScoreRow
from s1.report.findings import Series, SettledShare, SettledTrace, Settling
from s1.report.series import PointSeries, SeriesPoint
from s1.stats import clustered
from s1.stats.settling import NEVER, lost_at, median_tokens, settled_at, settled_by, share_after
from s1.stats.votes import RIGHT, SILENT


@dataclass(frozen=True)
class _Unit:
    """One question, seed and sample, which every point of the line has answered."""

    seed: int
    question_id: str
    sample: int


@dataclass(frozen=True)
class _Line:
    labels: list[str]
    rows: list[dict[_Unit, ScoreRow]]  # of each point
    units_RQS: list[list[list[_Unit]]]

    @property
    def tokens_PRQS(self) -> np.ndarray:
        return np.array(
            [[[[rows[u].thinking_tokens for u in s] for s in q] for q in self.units_RQS] for rows in self.rows]
        )

    @property
    def classes_PRQS(self) -> np.ndarray:
        """Answers as numbers that hold for all points (s1/stats/votes.py)."""
        wrong: dict[str, int] = {}

        def class_of(row: ScoreRow) -> int:
            if row.correct:
                return RIGHT
            return SILENT if row.extracted is None else wrong.setdefault(normalised(row.extracted), len(wrong) + 1)

        return np.array([[[[class_of(rows[u]) for u in s] for s in q] for q in self.units_RQS] for rows in self.rows])


def settling_of(line: PointSeries, series: Series, statistics: Statistics) -> Settling | None:
    """Where the answers of a series settle; None if fewer than two of its points extend each other."""
    members = _extending([member for member in line.members if _is_valid(member, series)])
    found = _line(members, series)
    if found is None:
        return None
    tokens_PRQS, classes_PRQS = found.tokens_PRQS, found.classes_PRQS
    place_RQS = settled_at(classes_PRQS)
    shares = [clustered.accuracy(settled_RQS, statistics.level) for settled_RQS in settled_by(place_RQS, len(members))]
    return Settling(
        series=series.name,
        points=[SettledShare(label, share) for label, share in zip(found.labels, shares, strict=True)],
        invalid=[point.label for point in series.points if not point.valid],
        apart=[point.label for point in series.points if point.valid and point.label not in found.labels],
        median_tokens=median_tokens(tokens_PRQS, place_RQS),
        share_after=share_after(tokens_PRQS, place_RQS, statistics),
        traces=list(_traces(found, place_RQS, lost_at(classes_PRQS))),
    )


def _is_valid(member: SeriesPoint, series: Series) -> bool:
    return series.point_of(member.key, member.request).valid


def _is_warned(member: SeriesPoint) -> bool:
    return any(score.warned is not None for score in member.scores)


def _extending(members: Sequence[SeriesPoint]) -> list[SeriesPoint]:
    """The members, by amount, of which none has less of anything than the one before."""
    methods = {id(member): method_of(member.request) for member in members}
    extending = [member for member in members if methods[id(member)].extends and not _is_warned(member)]
    by_amount = sorted(
        ((methods[id(member)].amount(member.request), member) for member in extending), key=lambda each: each[0]
    )
    kept = by_amount[:1]
    for amount, member in by_amount[1:]:
        if all(now >= before for now, before in zip(amount, kept[-1][0], strict=True)):
            kept.append((amount, member))
    return [member for _, member in kept]


def _line(members: Sequence[SeriesPoint], series: Series) -> _Line | None:
    """The line over what all its points have: their common seeds and samples. None for less than two points."""
    rows = [
        {_Unit(each.point.seed, row.question_id, row.sample): row for each in member.scored for row in each.scores}
        for member in members
    ]
    common = set.intersection(*map(set, rows)) if len(rows) > 1 else set()
    if not common:
        return None
    seeds, questions, samples = (
        sorted({getattr(unit, name) for unit in common}) for name in ("seed", "question_id", "sample")
    )
    units = [[[_Unit(seed, question, sample) for sample in samples] for question in questions] for seed in seeds]
    labels = [series.point_of(member.key, member.request).label for member in members]
    return _Line(labels, rows, units)


def _traces(line: _Line, place_RQS: np.ndarray, lost_RQS: np.ndarray) -> Iterator[SettledTrace]:
    for index in np.ndindex(place_RQS.shape):
        seed, question, sample = index
        unit = line.units_RQS[seed][question][sample]
        place, lost, end = int(place_RQS[index]), int(lost_RQS[index]), line.rows[-1][unit]
        right = None if lost == NEVER else line.rows[lost][unit]
        yield SettledTrace(
            question_id=unit.question_id,
            seed=unit.seed,
            sample=unit.sample,
            settled=None if place == NEVER else line.labels[place],
            settled_tokens=None if place == NEVER else line.rows[place][unit].thinking_tokens,
            end_tokens=end.thinking_tokens,
            answer=end.extracted,
            right=end.correct,
            last_right=None if right is None else line.labels[lost],
            last_right_tokens=None if right is None else right.thinking_tokens,
            last_right_answer=None if right is None else right.extracted,
        )
