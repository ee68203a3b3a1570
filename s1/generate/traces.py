"""Answer all questions under all budgets of one model: one engine, one continuation store, all traces driven together.

A work's answers are written in question order, then sample, as soon as the last of its traces is closed. The seed of a
sample is a hash of (generate.seed, question, sample): it knows neither budget nor place, so every budget continues the
same text, and a share of the questions gives that share of the answers (s1/generate/shards.py).

    out/answers.jsonl    s1/records.py: Answer
    out/engine.json      the fingerprint of the engine (s1/generate/engines.py)

Summary of a work: `sampled_tokens` is what its traces would cost from scratch, `engine_tokens` what was newly generated
on its demand, `served_tokens` the rest, `prompt_tokens` the length of the prompts that were continued for it, and
`cached_tokens` how much of these the engine still had in its cache. `continuation_tokens_reused` is what of it was read
from the files of the continuation store, and `continuation_lines_rejected` how many lines there were left out; both are
absent where they are 0. `continuation_digest` stands for the lines that were read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, cast

from s1.config.schema import ComputeRequest, ConfigError, EngineConfig
from s1.generate.answer_text import answer_end, graded_text, thinks_on_tokens
from s1.generate.continuations import FOLDER, Continuations, folder_of_model
from s1.generate.engine import Engine, Sampling
from s1.generate.engines import Fingerprint, open_engine, require_planned
from s1.generate.methods.registry import method_of
from s1.generate.rollout import Rollout, TraceJob
from s1.generate.shards import TRACES_FILE, USAGE, planned_questions, questions_in, summary_of
from s1.generate.trace import Close, Part, Policy, Segment, begun
from s1.models.location import model_location, model_read, tokenizer_at
from s1.models.thinking_format import Tokenizer, decode, encode, prompt_of, thinking_format_ids
from s1.records import Question, TraceRow, write_rows
from s1.stages import TracesConfig, TracesShardConfig
from sweep.core.identity import Json, key_of
from sweep.core.stage import Finished, Work


class OpenModel(Protocol):
    """Opens a model: its tokenizer at once, its engine when asked for, which may take minutes."""

    def __call__(
        self, model: Path, config: EngineConfig, settings: Mapping[str, Json]
    ) -> tuple[Tokenizer, Callable[[], Engine]]: ...


def open_model(
    model: Path, config: EngineConfig, settings: Mapping[str, Json]
) -> tuple[Tokenizer, Callable[[], Engine]]:
    """The model of a stage's product, by the engine that the config names; heavy libraries are imported here."""
    location = model_location(model)
    tokenizer = tokenizer_at(location)
    return tokenizer, partial(open_engine, location, config, settings)


@dataclass
class _Sheet:
    """The answers of one work, as they come in."""

    work: Work[TracesConfig]
    questions: Sequence[Question]  # those that are asked here
    closed: dict[tuple[int, int], Close] = field(default_factory=dict)  # by question and sample

    @property
    def total(self) -> int:
        return len(self.questions) * self.work.config.generate.samples

    def put(self, place: tuple[int, int], close: Close) -> bool:
        """True when that was the last."""
        self.closed[place] = close
        self.work.report(len(self.closed), self.total, "traces")
        return len(self.closed) == self.total


def traces(works: Sequence[Work[TracesConfig]], open_model: OpenModel = open_model) -> Iterator[Finished]:
    """Batch stage function; inputs `model`, `questions`."""
    yield from _answer_all([_Sheet(work, planned_questions(work)) for work in works], open_model)


def traces_shard(works: Sequence[Work[TracesShardConfig]], open_model: OpenModel = open_model) -> Iterator[Finished]:
    """Likewise, for a shard of each work's questions."""
    wholes = [(_whole(work), questions_in(work.config, planned_questions(work))) for work in works]
    yield from _answer_all([_Sheet(work, questions) for work, questions in wholes], open_model)


def _whole(shard: Work[TracesShardConfig]) -> Work[TracesConfig]:
    return cast(Work[TracesConfig], replace(shard, config=shard.config.whole))  # to a checker, replace() keeps the type


def _answer_all(sheets: Sequence[_Sheet], open_model: OpenModel) -> Iterator[Finished]:
    works = [sheet.work for sheet in sheets]
    first = works[0]
    if any(work.config.engine != first.config.engine or work.one("model") != first.one("model") for work in works):
        raise ConfigError("works of one batch: different models or engines. Give each model and engine its own batch.")
    require_planned(first.config.engine.kind, first.config.libraries)
    longest = max(work.config.context_tokens for work in works)
    tokenizer, load = open_model(first.one("model"), first.config.engine, {**first.settings, "context_tokens": longest})
    policies = _policies(works, tokenizer)
    with ExitStack() as opened:
        engine = opened.enter_context(closing(load()))
        _require_context(longest, engine)
        fingerprint = Fingerprint(first.config.engine, first.config.libraries, engine.kernels)
        rollout = Rollout(engine)
        paths = {work.key: _store_path(work, fingerprint) for work in works}
        opener = partial(_store, fingerprint=fingerprint, vocabulary=engine.vocabulary)
        opened_at = {path: opened.enter_context(opener(path)) for path in dict.fromkeys(paths.values())}
        stores = {key: opened_at[path] for key, path in paths.items()}
        jobs = [
            job for sheet in sheets for job in _jobs(sheet, policies[sheet.work.key], stores[sheet.work.key], tokenizer)
        ]
        by_owner = {sheet.work.key: sheet for sheet in sheets}
        for job, close in rollout.run(jobs):
            sheet = by_owner[job.owner]
            if sheet.put(job.name, close):
                job.store.sync()
                rows = list(_rows(sheet, tokenizer))
                write_rows(sheet.work.out / TRACES_FILE, rows)
                fingerprint.write(sheet.work.out)
                usage = {name: getattr(rollout.usage, name)[job.owner] for name in USAGE}
                usage["continuation_tokens_reused"] = rollout.usage.continuation_tokens_reused[job.owner]
                usage["continuation_lines_rejected"] = job.store.reading.rejected_lines
                summary = summary_of(rows, sheet.work.config, usage)
                yield Finished(job.owner, {**summary, **_read(job.store, usage), **model_read(first.one("model"))})


def seed_of(seed: int, question_id: str, sample: int) -> int:
    """63 bits that depend on these three and nothing else."""
    digest = hashlib.sha256(f"{seed} {sample} {question_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _store_path(work: Work[TracesConfig], fingerprint: Fingerprint) -> Path:
    """Traces of different numerics, or of a model of other bytes, lie in different directories: they never mix."""
    folder = (work.shared if work.config.generate.share else work.scratch) / FOLDER / fingerprint.key
    digest = next(iter(work.digests.get("model", ())), None)  # a record of an earlier version may have none
    return folder_of_model(folder, digest) if digest else folder


def _store(path: Path, fingerprint: Fingerprint, vocabulary: int) -> Continuations:
    store = Continuations(path, vocabulary)
    fingerprint.write(path)
    return store


def _read(store: Continuations, usage: Mapping[str, int]) -> dict[str, str]:
    """The digest of the lines that some of the answers come from; nothing if none do."""
    digest = store.reading.digest
    return {"continuation_digest": digest} if digest and usage["continuation_tokens_reused"] > 0 else {}


def _require_context(context_tokens: int, engine: Engine) -> None:
    if context_tokens > engine.context_tokens:
        raise ConfigError(f"model.context_tokens {context_tokens}: the model holds {engine.context_tokens}. Lower it.")


def _policies(works: Sequence[Work[TracesConfig]], tokenizer: Tokenizer) -> dict[str, Policy]:
    """By work; what a work asks and this model cannot write is refused here, before the model is loaded."""
    thinking_formats = {key_of(work.config.thinking_format): work.config.thinking_format for work in works}
    ids = {
        key: thinking_format_ids(thinking_format, tokenizer) for key, thinking_format in thinking_formats.items()
    }  # walks the whole vocabulary
    policies = {}
    for work in works:
        config = work.config
        request = ComputeRequest(config.budget)
        continuation = encode(config.budget.continuation, tokenizer)
        policies[work.key] = method_of(request).policy(
            request, ids[key_of(config.thinking_format)], continuation, config.context_tokens
        )
    return policies


def _jobs(sheet: _Sheet, policy: Policy, store: Continuations, tokenizer: Tokenizer) -> Iterator[TraceJob]:
    """One for each question and sample."""
    config, generate = sheet.work.config, sheet.work.config.generate
    sampling = Sampling(generate.temperature, generate.top_p)
    for index, question in enumerate(sheet.questions):
        prompt = prompt_of(config.thinking_format, question.prompt, tokenizer)
        trace = begun(prompt.ids, prompt.opening)
        for sample in range(generate.samples):
            seed = seed_of(generate.seed, question.question_id, sample)
            yield TraceJob((index, sample), sheet.work.key, policy, trace, sampling, seed, store)


def _rows(sheet: _Sheet, tokenizer: Tokenizer) -> Iterator[TraceRow]:
    config = sheet.work.config
    for (index, sample), close in sorted(sheet.closed.items(), key=lambda item: item[0]):
        trace = close.trace
        yield TraceRow(
            question_id=sheet.questions[index].question_id,
            sample=sample,
            prompt_tokens=len(trace.prompt_ids),
            segments=[_segment(each) for each in trace.segments],
            thinking=decode(trace.part_ids(Part.THINKING), tokenizer),
            answer=graded_text(config.thinking_format, close, tokenizer),
            ending=close.ending,
            thinking_tokens=trace.thinking_tokens,
            answer_tokens=trace.answer_tokens,
            answer_end=answer_end(trace, config.budget),
            thinks_on_tokens=thinks_on_tokens(config.thinking_format, trace, tokenizer),
            waits=trace.waits,
            sampled_tokens=trace.sampled_tokens,
        )


def _segment(segment: Segment) -> dict[str, Json]:
    return {
        "part": segment.part.value,
        "origin": segment.origin.value,
        "ids": list(segment.ids),
        "ended_by": None if segment.ended_by is None else list(segment.ended_by),
    }
