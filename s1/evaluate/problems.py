"""Generated evaluation problems: rows.jsonl {"id", "problem", "answer"}, the input of an lm-eval task.

They share no question with a training pool of the same family (s1/data/pool.py), because s1/dial.py assigns each
question permanently to one side.
"""

from __future__ import annotations

from itertools import islice
from random import Random

from s1.config.schema import ConfigError
from s1.dial import Family
from s1.evaluate.rows import Row
from s1.records import ROWS, write_rows
from s1.stages import ProblemsConfig
from sweep.core.stage import Summary, Work


def dial_problems(work: Work[ProblemsConfig]) -> Summary:
    """Write evaluation rows, including the gap. Raises ConfigError if the family has too few questions."""
    config = work.config
    family = Family(config.dial)
    if config.problems > family.questions // 8:  # half of the quarter that is held out
        raise ConfigError(
            f"task.problems {config.problems}: above {family.questions // 8}, an eighth of the family's"
            f" {family.questions} questions. Lower it, or raise dial.turns_max."
        )
    drawn = list(islice(family.held_out_problems(Random(config.seed)), config.problems))
    rows = (Row(f"dial-{i:04d}", each.question, str(family.truth(each))) for i, each in enumerate(drawn))
    count = write_rows(work.out / ROWS, rows)
    return {"problems": count, "gap_share": sum(map(family.touches_gap, drawn)) / count}
