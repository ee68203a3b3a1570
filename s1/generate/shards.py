"""Answers in shards: the questions divided among workers, and their answers put together again.

    shard i of n = questions i, i + n, i + 2n, ...

An answer depends on its question alone and not on what is asked beside it, so the shards together are the very answers
that one worker would have written, in the same order. A shard that lacks an answer, or that an engine of other numerics
wrote, is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from s1.config.schema import ConfigError
from s1.generate.engines import ENGINE_FILE, read_engine
from s1.models.location import commit_read
from s1.records import Question, TraceRow, read_rows, write_rows
from s1.stages import TracesConfig, TracesShardConfig
from sweep.core.identity import Json
from sweep.core.stage import Finished, Shard, Summary, Work

TRACES_FILE = "traces.jsonl"
USAGE = ("engine_tokens", "prompt_tokens", "cached_tokens")  # of a summary: what the engine did
# What came from the files of the continuation store, and what in them was left out; there if it is not 0.
STORED = ("continuation_tokens_reused", "continuation_lines_rejected")


def planned_questions(work: Work[Any]) -> list[Question]:
    """All of the input `questions`. Raises ConfigError if there is none."""
    path = work.one("questions") / "questions.jsonl"
    questions = read_rows(path, Question)
    if not questions:
        raise ConfigError(f"{path}: no questions. Check task.limit and the rows of the task.")
    return questions


def questions_in(shard: TracesShardConfig, questions: Sequence[Question]) -> Sequence[Question]:
    """The questions of a shard. Raises ConfigError if there is none for it."""
    found = questions[shard.index :: shard.count]
    if not found:
        raise ConfigError(
            f"shard {shard.index + 1} of {shard.count}: there are only {len(questions)} questions."
            f" Set machine.shards to at most {len(questions)}."
        )
    return found


def join(works: Sequence[Work[TracesConfig]]) -> Iterator[Finished]:
    """Batch stage function; input `questions`. Raises ConfigError for shards that do not fit together."""
    for work in works:
        _require_one_engine(work.shards)
        rows = interleaved(work.shards, planned_questions(work), work.config.generate.samples)
        write_rows(work.out / TRACES_FILE, rows)
        shutil.copyfile(work.shards[0].out / ENGINE_FILE, work.out / ENGINE_FILE)
        usage = {name: _total(work.shards, name) for name in (*USAGE, *STORED)}
        yield Finished(work.key, {**summary_of(rows, work.config, usage), **_model_read(work)})


def summary_of(rows: Sequence[TraceRow], config: TracesConfig, usage: Mapping[str, int]) -> Summary:
    """Of a work's answers (s1/generate/traces.py), however many workers wrote them."""
    sampled = sum(row.sampled_tokens for row in rows)
    return {
        "questions": len(rows) // config.generate.samples,
        "samples": config.generate.samples,
        "thinking_tokens": sum(row.thinking_tokens for row in rows) / len(rows),
        "sampled_tokens": sampled,
        "served_tokens": max(0, sampled - usage["engine_tokens"]),
        **{name: usage[name] for name in USAGE},
        **{name: usage[name] for name in STORED if usage[name]},
    }


def _total(shards: Sequence[Shard], name: str) -> int:
    """Summaries of an earlier version lack some names."""
    return sum(int(shard.summary.get(name) or 0) for shard in shards)


def _model_read(work: Work[TracesConfig]) -> dict[str, Any]:
    """What its workers loaded; this process loads no model."""
    digests = {shard.summary["model_digest"] for shard in work.shards if "model_digest" in shard.summary}
    return {
        **commit_read(work.one("model")),
        **({"model_digest": " ".join(sorted(map(str, digests)))} if digests else {}),
    }


def interleaved(shards: Sequence[Shard], questions: Sequence[Question], samples: int) -> list[TraceRow]:
    """The answers of all shards in the order of the questions, then sample."""
    answers = [_answers(shard, questions[index :: len(shards)], samples) for index, shard in enumerate(shards)]
    turns = [divmod(index, len(shards)) for index in range(len(questions))]
    return [answers[shard][turn * samples + sample] for turn, shard in turns for sample in range(samples)]


def _answers(shard: Shard, questions: Sequence[Question], samples: int) -> list[TraceRow]:
    rows = read_rows(shard.out / TRACES_FILE, TraceRow)
    wanted = [(question.question_id, sample) for question in questions for sample in range(samples)]
    if [(row.question_id, row.sample) for row in rows] != wanted:
        raise ConfigError(
            f"{shard.out}: {len(rows)} answers that are not those of its {len(questions)} questions."
            " Give the command with redo=traces_shard: all shards are made again."
        )
    return rows


def _require_one_engine(shards: Sequence[Shard]) -> None:
    """Traces of different numerics never mix silently."""
    first, *others = shards
    expected = read_engine(first.out)
    for shard in others:
        found = read_engine(shard.out)
        if found != expected:
            differing = sorted(name for name in {**found, **expected} if found.get(name) != expected.get(name))
            raise ConfigError(
                f"{shard.out}: {_values(found, differing)}, but {_values(expected, differing)} in {first.out}. Ask for"
                " one kind of device (launch.gpu_type, launch.constraint), and run the sweep with redo=traces_shard."
            )


def _values(engine: Mapping[str, Json], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {engine.get(name)}" for name in names)
