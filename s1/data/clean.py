"""The clean stage: candidates without contamination, defects and doubles (paper, sections 2.1 and 2.2).

rows.jsonl      PoolRow, in the order of the pool
funnel.json     the steps of the pool, then decontaminated, complete, quality
"""

from __future__ import annotations

from s1.data import decontaminate, quality
from s1.data.funnel import read_funnel, sift, write_funnel
from s1.records import ROWS, PoolRow, Question, read_rows, write_rows
from s1.stages import Cleansing
from sweep.stage import Summary, Work


def clean(work: Work[Cleansing]) -> Summary:
    """Write the rows that pass. Raises ConfigError if none does."""
    cleaning, source = work.config.cleaning, work.one("rows")
    rows = read_rows(source / ROWS, PoolRow)
    against = [
        question.prompt
        for directory in work.inputs.get("against", ())
        for question in read_rows(directory / "questions.jsonl", Question)
    ]
    apart = decontaminate.verdicts(rows, against, cleaning.ngram_words)
    rows, decontaminated = sift("decontaminated", rows, apart)
    rows, complete = sift(quality.COMPLETE, rows, [quality.incomplete(row) for row in rows])
    rows, good = sift("quality", rows, quality.verdicts(rows, cleaning.patterns))
    write_rows(work.out / ROWS, rows)
    write_funnel(work.out, [*read_funnel(source), decontaminated, complete, good])
    return {"against": len(against), **{step.name: step.kept for step in (decontaminated, complete, good)}}
