"""The pool stage: candidates for training in one vocabulary, wherever they come from.

rows.jsonl     PoolRow, in the order of the source
funnel.json    how many rows there were, and which were no candidates (s1/data/funnel.py)

A local file is JSON lines or parquet; a hub dataset is loaded at its pinned revision; dial problems are made by rule.
A text column may hold a list of texts, as s1's traces do: its first counts. In a conversation the question is the first
turn of the user, trace and answer stand between markers in the first turn of the assistant (Sky-T1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from s1.config.data import Conversation, Pool, PoolKind
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
    """Write the pool. Raises ConfigError for a source that cannot be read, or that lacks a column."""
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


def dial_rows(pool: Pool) -> Iterator[PoolRow]:
    """Reasoned dial problems without end; a trace that ends in a wrong answer is left out."""
    if pool.dial is None:
        raise ConfigError("data.pool.dial null: a dial pool needs a family. Set it to ${dial}.")
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


def pool_candidates(pool: Pool, objects: Iterable[Mapping[str, Any]]) -> tuple[list[PoolRow], list[Drop]]:
    """Rows in our words; those without a question, and those whose question was there before, are dropped."""

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
        raise ConfigError(f"data.pool {pool.name}: no row with a question. Check data.pool.columns.question.")
    return list(kept.values()), drops


def question_id(question: str) -> str:
    """The key of a question, as in s1."""
    return hashlib.sha256(question.encode("utf-8")).hexdigest()[:ID_CHARACTERS]


# ------------------------------------------------------------------------------------------------ reading


def _objects(work: Work[PoolConfig], pool: Pool) -> Iterable[Mapping[str, Any]]:
    """The raw rows, once it is sure that they have the columns that the pool names."""
    rows = _of_file(work.one("file")) if pool.kind is PoolKind.FILE else _of_hub(pool.hub)
    check_columns(pool, next(iter(rows), None))
    return rows


def _of_file(path: Path) -> Iterable[Mapping[str, Any]]:
    if path.suffix != ".parquet":
        return list(read_objects(path))
    from datasets import load_dataset

    try:
        # Streaming, so from the file whose bytes were hashed, and not from a table that was once prepared from it.
        rows = load_dataset("parquet", data_files=str(path), split="train", streaming=True)
        next(iter(rows), None)
    except (OSError, ValueError) as error:  # of pyarrow, which derives its own from them
        raise ConfigError(f"data.pool.file {path}: cannot be read ({first_line(error)}). Write it again.") from None
    return rows


def _of_hub(hub: Hub | None) -> Iterable[Mapping[str, Any]]:
    if hub is None:
        raise ConfigError("data.pool.hub null: nothing to load. Name a dataset, or choose data.pool.kind=file.")
    return rows_at(hub, "data.pool.hub", "name a local copy: pool@data.pool=file data.pool.file=FILE")


def _row(pool: Pool, raw: Mapping[str, Any]) -> PoolRow:
    if pool.conversation:
        return _of_conversation(pool, pool.conversation, raw)
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


def _of_conversation(pool: Pool, layout: Conversation, raw: Mapping[str, Any]) -> PoolRow:
    turns = raw[layout.column] or []
    said = {who: _first(turns, layout, who) for who in (layout.user, layout.assistant)}
    question, reply = said[layout.user].strip(), said[layout.assistant]
    return PoolRow(
        id=question_id(question),
        question=question,
        solution=None,
        source=pool.name,
        domain=None,
        thinking=_between(reply, layout.thinking_start, layout.thinking_end),
        answer=_between(reply, layout.answer_start, layout.answer_end),
    )


def _first(turns: Iterable[Mapping[str, str]], layout: Conversation, who: str) -> str:
    return next((str(turn[layout.text]) for turn in turns if turn.get(layout.role) == who), "")


def _between(text: str, start: str, end: str) -> str | None:
    """What stands between two markers; None if they are not both there, in this order, or nothing is between them."""
    _, found, rest = text.partition(start)
    inner, closed, _ = rest.partition(end)
    return (inner.strip() or None) if found and closed else None


def _text(raw: Mapping[str, Any], column: str | None) -> str | None:
    """The text of a column, stripped; None where there is none."""
    value = raw.get(column) if column else None
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return (value.strip() or None) if isinstance(value, str) else None
