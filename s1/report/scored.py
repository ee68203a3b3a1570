"""A point and its scores, as the curve stage reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from s1.config import ConfigError
from s1.records import Score, read_rows
from s1.stages import Curve, CurvePoint
from sweep.stage import Work


@dataclass(frozen=True)
class Scored:
    """A point and its scores; `scores/<key>` made them, and `digest` is of what came out ("": unknown)."""

    point: CurvePoint
    key: str
    scores: list[Score]
    answers: Path  # the directory of what was scored
    digest: str = ""
    judged: Path | None = None  # the directory of the scores


def read_scored(work: Work[Curve]) -> Iterator[Scored]:
    """Every point of the command. Raises ConfigError unless there is one directory for each."""
    points, scores, answers = work.config.points, work.inputs["scores"], work.inputs["answers"]
    for role, directories in (("scores", scores), ("answers", answers)):
        if len(points) != len(directories):
            count = len(directories)
            raise ConfigError(f"{role} {count}: there are {len(points)} points. Give one directory per point.")
    digests = work.digests.get("scores", ("",) * len(points))
    for point, directory, answered, digest in zip(points, scores, answers, digests, strict=True):
        # store/scores/<key>/out: a product directory lies in the directory of its stage.
        rows = read_rows(directory / "scores.jsonl", Score)
        yield Scored(point, directory.parent.name, rows, answered, digest, directory)
