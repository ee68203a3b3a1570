"""Shards of a traces stage: divide the questions among workers, and join the rows they wrote.

    shard i of n = questions i, i + n, i + 2n, ...

A trace depends only on its question, not on the other questions of its batch, so the joined shards equal what one
worker would have written, in the same order. A shard with a missing row, or from an engine with other numerics, is
refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from s1.config.schema import ConfigError
from s1.generate.engines import ENGINE_FILE, read_engine
from s1.generate.trace_row import ENGINE_USAGE, STORE_USAGE, TRACES_FILE, RowTotals, summary_of
from s1.models.location import commit_read
from s1.records import Question, TraceRow, read_rows, write_rows
from s1.stages import TracesConfig, TracesShardConfig
from sweep.core.identity import Json
from sweep.core.stage import Finished, Shard, Work


def planned_questions(work: Work[Any]) -> list[Question]:
    """Read all rows of the input `questions`. Raises ConfigError if there are none."""
    path = work.one("questions") / "questions.jsonl"
    questions = read_rows(path, Question)
    if not questions:
        raise ConfigError(f"{path}: no questions. Check task.limit and the rows of the task.")
    return questions


def questions_in(shard: TracesShardConfig, questions: Sequence[Question]) -> Sequence[Question]:
    """The questions of a shard. Raises ConfigError if it has none."""
    found = questions[shard.index :: shard.count]
    if not found:
        raise ConfigError(
            f"shard {shard.index + 1} of {shard.count}: has no question, because there are only {len(questions)}."
            f" Set machine.shards to at most {len(questions)}."
        )
    return found


def join(works: Sequence[Work[TracesConfig]]) -> Iterator[Finished]:
    """Batch stage function; input `questions`. Raises ConfigError if the shards do not fit together."""
    for work in works:
        _require_one_engine(work.shards)
        rows = interleave(work.shards, planned_questions(work), work.config.generate.samples)
        totals = RowTotals()
        write_rows(work.out / TRACES_FILE, totals.counted(rows))
        shutil.copyfile(work.shards[0].out / ENGINE_FILE, work.out / ENGINE_FILE)
        usage = {name: _total(work.shards, name) for name in (*ENGINE_USAGE, *STORE_USAGE)}
        yield Finished(work.key, {**summary_of(totals, work.config, usage), **_model_read(work)})


def _total(shards: Sequence[Shard], name: str) -> int:
    # Summaries written by an earlier version lack some names.
    return sum(int(shard.summary.get(name) or 0) for shard in shards)


def _model_read(work: Work[TracesConfig]) -> dict[str, Any]:
    """Commit and digest of the model that the shards' workers loaded; this process loads no model."""
    digests = {shard.summary["model_digest"] for shard in work.shards if "model_digest" in shard.summary}
    return {
        **commit_read(work.one("model")),
        **({"model_digest": " ".join(sorted(map(str, digests)))} if digests else {}),
    }


def interleave(shards: Sequence[Shard], questions: Sequence[Question], samples: int) -> list[TraceRow]:
    """The rows of all shards in the order of the questions, then of the samples."""
    rows = [_rows_of(shard, questions[index :: len(shards)], samples) for index, shard in enumerate(shards)]
    places = [divmod(index, len(shards)) for index in range(len(questions))]
    return [rows[shard][place * samples + sample] for place, shard in places for sample in range(samples)]


def _rows_of(shard: Shard, questions: Sequence[Question], samples: int) -> list[TraceRow]:
    rows = read_rows(shard.out / TRACES_FILE, TraceRow)
    expected = [(question.question_id, sample) for question in questions for sample in range(samples)]
    if [(row.question_id, row.sample) for row in rows] != expected:
        raise ConfigError(
            f"{shard.out}: its {len(rows)} answers do not match its {len(questions)} questions."
            " Run the command with redo=traces_shard to generate all shards again."
        )
    return rows


def _require_one_engine(shards: Sequence[Shard]) -> None:
    """Raise ConfigError if engines with different numerics wrote the shards."""
    first, *others = shards
    expected = read_engine(first.out)
    for shard in others:
        found = read_engine(shard.out)
        if found != expected:
            differing = sorted(name for name in {**found, **expected} if found.get(name) != expected.get(name))
            raise ConfigError(
                f"{shard.out}: {_values(found, differing)}, but {_values(expected, differing)} in {first.out}. Request"
                " one kind of device (launch.gpu_type, launch.constraint) and run the sweep with redo=traces_shard."
            )


def _values(engine: Mapping[str, Json], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {engine.get(name)}" for name in names)
