"""The pool stage: collect training candidates from any source in one row format.

rows.jsonl     PoolRow, in the order of the source
funnel.json    how many rows were read, and which were dropped (s1/data/funnel.py)

Sources: a local JSON lines or parquet file, a hub dataset at its pinned revision, or generated dial problems. A text
column may hold a list of texts, as s1's traces do; the first is used. In a conversation, the question is the user's
first turn; trace and answer are delimited by markers in the assistant's first turn (Sky-T1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from s1.config.data import Conversation, PoolKind, PoolSource
from s1.config.schema import ConfigError, Hub
from s1.data.columns import check_columns
from s1.data.filter import ASKED_BEFORE
from s1.data.funnel import Drop, funnel_step, write_funnel
from s1.dial import Family
from s1.hub.datasets import rows_at
from s1.hub.files import first_line
from s1.records import ROWS, PoolRow, read_objects, write_rows
from s1.stages import PoolConfig
from sweep.core.stage import Summary, Work

ID_CHARACTERS = 16
NO_QUESTION = "no question"


def pool_rows(work: Work[PoolConfig]) -> Summary:
    """Write the pool. Raises ConfigError for a source that cannot be read or lacks a column."""
    pool = work.config.pool
    if pool.kind is PoolKind.DIAL:
        kept, drops = list(islice(dial_rows(pool), pool.rows)), []
    else:
        kept, drops = pool_candidates(pool, _objects(work, pool))
    write_rows(work.out / ROWS, kept)
    write_funnel(work.out, [funnel_step("collected", kept, drops)])
    sources = {row.source for row in kept}
    commit = {"commit": pool.hub.revision} if pool.kind is PoolKind.HUB and pool.hub else {}
    return {"rows": len(kept), "dropped": len(drops), "sources": len(sources), **commit}


def dial_rows(pool: PoolSource) -> Iterator[PoolRow]:
    """An endless stream of dial problems with traces; traces with a wrong answer are skipped."""
    if pool.dial is None:
        raise ConfigError("data.pool.dial null: a dial pool needs the problem parameters. Set it to ${dial}.")
    family, random = Family(pool.dial), Random(pool.seed)
    kept = 0
    for problem in family.training_problems(random):
        reasoning, truth = family.reason(problem, random), str(family.truth(problem))
        if str(reasoning.answer) == truth:
            yield PoolRow(
                id=f"dial-{kept:04d}",
                question=problem.question,
                solution=truth,
                source="dial",
                domain=f"{len(problem.turns)} turns",
                thinking=reasoning.thinking,
                answer=f"Final Answer: {reasoning.answer}",
            )
            kept += 1


def pool_candidates(pool: PoolSource, objects: Iterable[Mapping[str, Any]]) -> tuple[list[PoolRow], list[Drop]]:
    """Convert raw objects to PoolRows; drop those without a question, and duplicates."""
    kept: dict[str, PoolRow] = {}
    drops = []
    for raw in objects:
        row = _row(pool, raw)
        if not row.question:
            drops.append(Drop(row, NO_QUESTION))
        elif row.id in kept:
            drops.append(Drop(row, ASKED_BEFORE))
        else:
            kept[row.id] = row
    if not kept:
        raise ConfigError(f"data.pool {pool.name}: no row has a question. Check data.pool.columns.question.")
    return list(kept.values()), drops


def question_id(question: str) -> str:
    """The id of a question, as s1 computes it."""
    return hashlib.sha256(question.encode("utf-8")).hexdigest()[:ID_CHARACTERS]


# ------------------------------------------------------------------------------------------------ reading


def _objects(work: Work[PoolConfig], pool: PoolSource) -> Iterable[Mapping[str, Any]]:
    """The raw rows, after checking that they have the columns that the pool's config names."""
    rows = _file_objects(work.one("file")) if pool.kind is PoolKind.FILE else _hub_objects(pool.hub)
    check_columns(pool, next(iter(rows), None))
    return rows


def _file_objects(path: Path) -> Iterable[Mapping[str, Any]]:
    if path.suffix != ".parquet":
        return list(read_objects(path))
    from datasets import load_dataset

    try:
        # Streaming reads the file that was hashed, not a table that `datasets` prepared from it earlier.
        rows = load_dataset("parquet", data_files=str(path), split="train", streaming=True)
        next(iter(rows), None)
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise ConfigError(f"data.pool.file {path}: cannot be read ({first_line(error)}). Write it again.") from None
    return rows


def _hub_objects(hub: Hub | None) -> Iterable[Mapping[str, Any]]:
    if hub is None:
        raise ConfigError("data.pool.hub null: a hub pool needs a dataset. Name one, or choose data.pool.kind=file.")
    return rows_at(hub, "data.pool.hub", "name a local copy: pool@data.pool=file data.pool.file=FILE")


def _row(pool: PoolSource, raw: Mapping[str, Any]) -> PoolRow:
    if pool.conversation:
        return _conversation_row(pool, pool.conversation, raw)
    columns = pool.columns
    question = _text(raw, columns.question) or ""
    return PoolRow(
        id=question_id(question),
        question=question,
        solution=_text(raw, columns.solution),
        source=_text(raw, columns.source) or pool.name,
        domain=_text(raw, columns.domain),
        thinking=_text(raw, columns.thinking),
        answer=_text(raw, columns.answer),
    )


def _conversation_row(pool: PoolSource, layout: Conversation, raw: Mapping[str, Any]) -> PoolRow:
    turns = raw[layout.column] or []
    question = _first_turn(turns, layout, layout.user).strip()
    reply = _first_turn(turns, layout, layout.assistant)
    return PoolRow(
        id=question_id(question),
        question=question,
        solution=None,
        source=pool.name,
        domain=None,
        thinking=_between(reply, layout.thinking_start, layout.thinking_end),
        answer=_between(reply, layout.answer_start, layout.answer_end),
    )


def _first_turn(turns: Iterable[Mapping[str, str]], layout: Conversation, role: str) -> str:
    return next((str(turn[layout.text]) for turn in turns if turn.get(layout.role) == role), "")


def _between(text: str, start: str, end: str) -> str | None:
    """The text between two markers; None if either is missing, they are out of order, or the text is empty."""
    _, found, rest = text.partition(start)
    inner, closed, _ = rest.partition(end)
    return (inner.strip() or None) if found and closed else None


def _text(raw: Mapping[str, Any], column: str | None) -> str | None:
    """The text of a column, stripped; None if it is empty or missing."""
    value = raw.get(column) if column else None
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return (value.strip() or None) if isinstance(value, str) else None
