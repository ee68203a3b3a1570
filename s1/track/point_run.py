"""The numbers of a W&B run of a point: 26 summary keys, under the names and with the rounding of table.csv.

Once the curve exists, a run has all of them; a value that is undefined for its point is None. Before, it has what its
scores say by themselves (`BEFORE_CURVE`): what needs other points or the traces is missing.
Where the seeds of a point are pooled, each seed has a run with its own numbers; the differences and loops of the curve
are of all seeds together, so these runs have none, and the summary run shows the pooled point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from s1.files.csv_files import Cell
from s1.report.findings import Findings, MeasuredPoint, PairedDifference, Series
from s1.report.tables import PP_DECIMALS, numbers, rounded
from s1.stages import CurvePoint

COLUMNS = {  # summary key: column of table.csv
    "accuracy": "accuracy",
    "accuracy_lo": "lo",
    "accuracy_hi": "hi",
    "n": "n",
    "samples": "samples",
    "thinking_tokens": "thinking_tokens",
    "thinking_lo": "thinking_lo",
    "thinking_hi": "thinking_hi",
    "answer_tokens": "answer_tokens",
    "forced_share": "forced_share",
    "mean_waits": "mean_waits",
    "all_waits_share": "all_waits_share",
    "no_answer_share": "no_answer_share",
    "loop_share": "loop_share",
    "over_budget": "over_budget",
    "valid": "valid",  # 1 or 0, so that W&B filters and plots it
    "sampled_tokens": "sampled_tokens",
    "device_seconds": "device_seconds",  # of its generation, as if the point shared nothing
    "usd": "usd",  # the same
}
OF_CURVE = ("loop_share", "diff_pp", "diff_lo", "diff_hi", "reference")  # keys that need the curve
OF_RUN = ("seed", "key", "digest")
KEYS = (*COLUMNS, "diff_pp", "diff_lo", "diff_hi", "reference", *OF_RUN)
BEFORE_CURVE = tuple(key for key in KEYS if key not in OF_CURVE)

PointNumbers: TypeAlias = "dict[str, Cell]"


@dataclass(frozen=True)
class ScoresOfRun:
    """The finished scores that a run shows."""

    key: str
    digest: str  # of the artifact, 12 hex digits
    point: CurvePoint  # its request and seed


@dataclass(frozen=True)
class Place:
    """Where a point stands in the findings: on the first series that has it."""

    series: Series
    point: MeasuredPoint

    @property
    def is_pooled(self) -> bool:
        return len(self.point.sources) > 1

    @property
    def difference(self) -> PairedDifference | None:
        """Against the reference of its series; None for the reference itself."""
        return next((each for each in self.series.to_reference if each.label == self.point.label), None)


def place_of(findings: Findings, scores: ScoresOfRun) -> Place:
    """Raises ValueError for scores that the curve does not have."""
    for series in findings.series:
        for point in series.points:
            if point.request == scores.point.request and any(each.key == scores.key for each in point.sources):
                return Place(series, point)
    raise ValueError(f"scores/{scores.key}: no point of the curve has them")


def before_curve(alone: MeasuredPoint, scores: ScoresOfRun) -> PointNumbers:
    """What the scores of one point and seed say by themselves."""
    known = {**_columns(alone), **_of_run(scores)}
    return {key: known[key] for key in BEFORE_CURVE}


def with_curve(place: Place, scores: ScoresOfRun, alone: MeasuredPoint | None) -> PointNumbers:
    """All keys. `alone`: the measurement of this seed by itself, for a point that pools several seeds."""
    if alone is not None and place.is_pooled:
        compared = dict.fromkeys(OF_CURVE)
        return _all({**_columns(alone), **compared, "reference": place.series.reference, **_of_run(scores)})
    return _all({**_columns(place.point), **_difference(place), **_of_run(scores)})


def _all(values: Mapping[str, Cell]) -> PointNumbers:
    return {key: values[key] for key in KEYS}


def _columns(point: MeasuredPoint) -> PointNumbers:
    row = dict(numbers(point))
    return {**{key: row[column] for key, column in COLUMNS.items()}, "valid": int(point.valid)}


def _difference(place: Place) -> PointNumbers:
    difference = place.difference
    estimate = difference and difference.estimate
    return {
        "diff_pp": rounded(estimate and estimate.value, PP_DECIMALS),
        "diff_lo": rounded(estimate and estimate.lo, PP_DECIMALS),
        "diff_hi": rounded(estimate and estimate.hi, PP_DECIMALS),
        "reference": place.series.reference,
    }


def _of_run(scores: ScoresOfRun) -> PointNumbers:
    return {"seed": scores.point.seed, "key": scores.key, "digest": scores.digest}


def defined(values: Mapping[str, Cell]) -> dict[str, Cell]:
    """What W&B gets: it has no undefined values, so their keys are left out."""
    return {key: value for key, value in values.items() if value is not None}


def invalid_labels(findings: Findings) -> Sequence[str]:
    """Labels of the points that failed their audit, each once."""
    return list(dict.fromkeys(point.label for point in findings.points() if not point.valid))
