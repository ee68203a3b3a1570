"""Schema of `paper`, which says what published numbers a scan reproduces, and the type of a published number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, TypeAlias

from s1.config.schema import ConfigError
from sweep.core.ranges import ANY, FreeText, Positive, Text, WholeNumber

Scalar: TypeAlias = bool | WholeNumber | Annotated[float, ANY] | FreeText | None
VOTES = "votes"


class Metric(Enum):
    """What a published number measures. Shares are in percent."""

    ACCURACY = "accuracy"  # percent
    DIFFERENCE = "difference"  # of accuracies, in points
    CONTROL = "control"  # percent of runs
    SCALING = "scaling"  # points per doubling of thinking tokens
    PERFORMANCE = "performance"  # percent, of the best run
    RUNS = "runs"  # number of runs behind control, scaling and performance
    THINKING_TOKENS = "thinking_tokens"  # mean over questions
    ANSWER_TOKENS = "answer_tokens"  # mean over questions
    OUTPUT_TOKENS_OF_ALL_QUESTIONS = "output_tokens_of_all_questions"
    STEPS_USED = "steps_used"
    TOKENS_PER_STEP = "tokens_per_step"
    TRIES = "tries"  # per question until all samples are short enough
    OUTPUTS_OVER_THE_CONTEXT = "outputs_over_the_context"
    TRAINING_EXAMPLES = "training_examples"
    SEQUENCE_LENGTH = "sequence_length"  # of the training, in tokens
    ROWS_CUT = "rows_cut"  # percent of training rows

    @property
    def is_of_series(self) -> bool:
        """Whether it is computed from several points."""
        return self in (Metric.CONTROL, Metric.SCALING, Metric.PERFORMANCE)


@dataclass(frozen=True)
class Published:
    """One number of the paper (s1/report/published/*.csv)."""

    table: str  # "table4"
    row: str  # the row, or the point of a figure: "2x Wait"
    task: str  # "" for a number of no task
    metric: Metric
    value: float
    lo: float | None  # published interval
    hi: float | None
    n: int | None  # questions
    model: str  # repository of the weights, or of the weights before training on `data`; other models by their name
    data: str  # repository of the training set; "": the weights as released
    temperature: float | None  # None: not published
    source: str


@dataclass(frozen=True)
class Paper:
    """Published numbers that a scan reproduces, and which of its points each of their rows stands beside."""

    table: Text | list[Text]  # tables or figures of s1/report/published, such as table4
    # by published row (or "ROW, TASK"), the values that select our point: an axis, a field of a point, `method`,
    # `family.NAME`, or `votes`, the majority vote of so many samples; a list means any of its values
    rows: Mapping[Text, Mapping[Text, Scalar | list[Scalar]]]
    task: Text | None = None  # the published task to compare with; null: the one that has the name of ours
    # a published value is reproduced if the whole interval of ours is at most so many points away from it
    margin_points: Positive = 5.0

    def __post_init__(self) -> None:
        for row, selector in self.rows.items():
            votes = selector.get(VOTES, 1)
            if isinstance(votes, bool) or not isinstance(votes, int) or votes < 1:
                raise ConfigError(f"paper.rows.{row}.{VOTES} {votes!r}: not a number of samples. Give 1 or more.")
        if not self.tables:
            raise ConfigError("paper.table []: names no table. Name one, or set paper=null.")

    @property
    def tables(self) -> list[str]:
        return [self.table] if isinstance(self.table, str) else list(self.table)
