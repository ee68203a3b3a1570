"""The traces stage: generate all questions under all budgets of one model, with one engine and shared stores.

A stage's rows are written in the order of questions, then samples, as soon as its last trace closes. The seed of a
sample is a hash of (generate.seed, question, sample). It depends neither on the budget nor on the question's position,
so every budget continues the same text, and a shard of the questions gives the same traces (s1/generate/shards.py).
A method of several traces for an answer runs a group of branches instead of one trace (s1/generate/group.py).

    out/traces.jsonl     TraceRow (s1/records.py)
    out/engine.json      fingerprint of the engine (s1/generate/engines.py)

The summary is described in s1/generate/trace_row.py. It also has `continuation_digest`, the digest of the store's lines
that were read, if any of their tokens were reused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeAlias, cast

from s1.config.schema import ComputeRequest, ConfigError, EngineConfig, ThinkingFormat
from s1.generate.continuations import FOLDER, Continuations, folder_of_model
from s1.generate.engine import Engine, Sampling
from s1.generate.engines import Fingerprint, open_engine, require_planned
from s1.generate.group import Group, GroupPolicy, Scorer
from s1.generate.group import Path as BranchPath
from s1.generate.methods.method import GroupContext, GroupMethod, TraceMethod
from s1.generate.methods.registry import method_of
from s1.generate.progress import GenerationProgress
from s1.generate.rollout import GroupJob, Job, Rollout, TraceJob
from s1.generate.scorers import scorers_of
from s1.generate.shards import planned_questions, questions_in
from s1.generate.trace import Close, Policy, Trace, new_trace
from s1.generate.trace_row import ENGINE_USAGE, TRACES_FILE, RowTotals, graded_text, summary_of, trace_row
from s1.models.location import model_location, model_read, tokenizer_at
from s1.models.thinking_format import ThinkingFormatIds, Tokenizer, encode, prompt_of, stops_of, thinking_format_ids
from s1.records import Question, TraceRow, write_rows
from s1.stages import TracesConfig, TracesShardConfig
from sweep.core.identity import Json, key_of
from sweep.core.stage import Finished, Interrupted, Work


class OpenModel(Protocol):
    """Opens a model: loads its tokenizer, and returns a function that loads its engine, which may take minutes."""

    def __call__(
        self, model: Path, config: EngineConfig, settings: Mapping[str, Json]
    ) -> tuple[Tokenizer, Callable[[], Engine]]: ...


def open_model(
    model: Path, config: EngineConfig, settings: Mapping[str, Json]
) -> tuple[Tokenizer, Callable[[], Engine]]:
    """Open the model in a stage's artifact with the configured engine. Heavy libraries are imported here."""
    location = model_location(model)
    tokenizer = tokenizer_at(location)
    return tokenizer, partial(open_engine, location, config, settings)


@dataclass
class PendingTraces:
    """Collects the closed traces of one stage until none is missing."""

    work: Work[TracesConfig]
    questions: Sequence[Question]  # those of this worker
    closed: dict[tuple[int, int], Close] = field(default_factory=dict)  # by question and sample

    @property
    def total(self) -> int:
        return len(self.questions) * self.work.config.generate.samples

    def add(self, place: tuple[int, int], close: Close) -> bool:
        """Add a closed trace; True if it was the last one."""
        self.closed[place] = close
        self.work.report(len(self.closed), self.total, "traces")
        return len(self.closed) == self.total

    def rows(self, tokenizer: Tokenizer) -> Iterator[TraceRow]:
        """All rows in the order of questions, then samples."""
        for (index, sample), close in sorted(self.closed.items(), key=lambda item: item[0]):
            yield trace_row(self.questions[index].question_id, sample, close, self.work.config, tokenizer)


class Prompts:
    """The beginnings of traces. Stages that ask the same questions share them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._traces: dict[tuple[str, str], Trace] = {}  # by key of the thinking format, and question

    def of(self, thinking_format: ThinkingFormat, questions: Sequence[Question]) -> list[Trace]:
        """A trace with the prompt of each question."""
        format_key = key_of(thinking_format)
        return [self._of(format_key, thinking_format, each.prompt) for each in questions]

    def _of(self, format_key: str, thinking_format: ThinkingFormat, question: str) -> Trace:
        if (format_key, question) not in self._traces:
            prompt = prompt_of(thinking_format, question, self._tokenizer)
            self._traces[format_key, question] = new_trace(prompt.ids, prompt.opening)
        return self._traces[format_key, question]


def traces(works: Sequence[Work[TracesConfig]], open_model: OpenModel = open_model) -> Iterator[Finished]:
    """Batch stage function; inputs `model`, `questions`."""
    yield from _generate([PendingTraces(work, planned_questions(work)) for work in works], open_model)


def traces_shard(works: Sequence[Work[TracesShardConfig]], open_model: OpenModel = open_model) -> Iterator[Finished]:
    """Batch stage function for a shard of each stage's questions; inputs `model`, `questions`."""
    wholes = [(_whole(work), questions_in(work.config, planned_questions(work))) for work in works]
    yield from _generate([PendingTraces(work, questions) for work, questions in wholes], open_model)


def _whole(shard: Work[TracesShardConfig]) -> Work[TracesConfig]:
    return cast(Work[TracesConfig], replace(shard, config=shard.config.whole))  # replace() does not change the type


def _generate(pending: Sequence[PendingTraces], open_model: OpenModel) -> Iterator[Finished]:
    works = [each.work for each in pending]
    first = works[0]
    if any(work.config.engine != first.config.engine or work.one("model") != first.one("model") for work in works):
        raise ConfigError("stages of one batch: different models or engines. Give each model and engine its own batch.")
    require_planned(first.config.engine.kind, first.config.libraries)
    longest = max(work.config.context_tokens for work in works)
    tokenizer, load = open_model(first.one("model"), first.config.engine, {**first.settings, "context_tokens": longest})
    makers = _makers(works, tokenizer)
    scorers = scorers_of(works, tokenizer)  # before the engine, which takes the memory that is left
    with ExitStack() as opened:
        engine = opened.enter_context(closing(load()))
        _require_context(longest, engine)
        fingerprint = Fingerprint(first.config.engine, first.config.libraries, engine.kernels)
        rollout = Rollout(engine)
        paths = {work.key: _store_path(work, fingerprint) for work in works}
        open_store = partial(_open_store, fingerprint=fingerprint, vocabulary=engine.vocabulary)
        by_path = {path: opened.enter_context(open_store(path)) for path in dict.fromkeys(paths.values())}
        stores = {key: by_path[path] for key, path in paths.items()}
        by_owner = {each.work.key: each for each in pending}
        prompts = Prompts(tokenizer)
        jobs = [
            job
            for key, each in by_owner.items()
            for job in _jobs(each, makers[key], stores[key], prompts, scorers[key])
        ]
        progress = GenerationProgress(rollout.usage.engine_tokens)
        for each in pending:
            progress.follow(each.work.key, each, each.work.scratch)
        for job, close in rollout.run(jobs, progress.step):
            owner = by_owner[job.owner]
            if owner.add(job.name, close):
                progress.finish(job.owner)
                job.store.sync()
                totals = RowTotals()
                write_rows(owner.work.out / TRACES_FILE, totals.counted(owner.rows(tokenizer)))
                fingerprint.write(owner.work.out)
                usage = {name: getattr(rollout.usage, name)[job.owner] for name in ENGINE_USAGE}
                usage["continuation_tokens_reused"] = rollout.usage.continuation_tokens_reused[job.owner]
                usage["continuation_lines_rejected"] = job.store.read_statistics.rejected_lines
                summary = {**summary_of(totals, owner.work.config, usage), **_continuation_digest(job.store, usage)}
                speed = {"engine_tokens_per_second": round(progress.mean_speed, 1)}
                yield Finished(job.owner, {**summary, **speed, **model_read(first.one("model"))})
            elif first.is_over_limit():
                raise Interrupted("generation stopped at a question; the continuation store has its tokens")


def seed_of(seed: int, question_id: str, sample: int | str) -> int:
    """63-bit seed of one sample; depends on these three values only."""
    digest = hashlib.sha256(f"{seed} {sample} {question_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def branch_seed(seed: int, question_id: str, path: BranchPath) -> int:
    """63-bit seed of a branch of a group. The path (n,) has the seed of sample n, so the two share their tokens."""
    return seed_of(seed, question_id, ".".join(map(str, path)))


def _store_path(work: Work[TracesConfig], fingerprint: Fingerprint) -> Path:
    """Directory of the continuation store: one for each fingerprint and model digest, so these never mix."""
    folder = (work.shared if work.config.generate.share else work.scratch) / FOLDER / fingerprint.key
    digest = next(iter(work.digests.get("model", ())), None)  # records of an earlier version may have none
    return folder_of_model(folder, digest) if digest else folder


def _open_store(path: Path, fingerprint: Fingerprint, vocabulary: int) -> Continuations:
    store = Continuations(path, vocabulary)
    fingerprint.write(path)
    return store


def _continuation_digest(store: Continuations, usage: Mapping[str, int]) -> dict[str, str]:
    """Digest of the store's lines, if any of their tokens were reused."""
    digest = store.read_statistics.digest
    return {"continuation_digest": digest} if digest and usage["continuation_tokens_reused"] > 0 else {}


def _require_context(context_tokens: int, engine: Engine) -> None:
    if context_tokens > engine.context_tokens:
        raise ConfigError(
            f"model.context_tokens {context_tokens}: the model supports at most {engine.context_tokens}. Lower it."
        )


@dataclass(frozen=True)
class _Place:
    """Where an answer belongs, and what it starts from."""

    index: int  # of the question
    sample: int
    question_id: str
    trace: Trace  # prompt
    work: Work[TracesConfig]
    store: Continuations
    scorer: Scorer | None  # None: the stage has no reward model

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.work.config.generate.temperature, self.work.config.generate.top_p)


MakeJob: TypeAlias = Callable[[_Place], Job]


def _makers(works: Sequence[Work[TracesConfig]], tokenizer: Tokenizer) -> dict[str, MakeJob]:
    """What makes the jobs of each stage, by its key.

    Raises ConfigError, before the model is loaded, for a budget this model cannot honor.
    """
    thinking_formats = {key_of(work.config.thinking_format): work.config.thinking_format for work in works}
    # Once for each format, because it walks the whole vocabulary.
    ids = {key: thinking_format_ids(each, tokenizer) for key, each in thinking_formats.items()}
    return {work.key: _maker(work.config, ids[key_of(work.config.thinking_format)], tokenizer) for work in works}


def _maker(config: TracesConfig, ids: ThinkingFormatIds, tokenizer: Tokenizer) -> MakeJob:
    request, method = ComputeRequest(config.budget), method_of(ComputeRequest(config.budget))
    continuation = encode(config.budget.continuation, tokenizer)
    if isinstance(method, GroupMethod):
        text = partial(graded_text, config.thinking_format, tokenizer=tokenizer)
        context = GroupContext(config.context_tokens, continuation, text, partial(stops_of, tokenizer=tokenizer))
        return partial(_group_job, method.group_policy(request, ids, context))
    assert isinstance(method, TraceMethod), f"{method.name}: makes neither traces nor groups"
    return partial(_trace_job, method.policy(request, ids, continuation, config.context_tokens))


def _trace_job(policy: Policy, place: _Place) -> TraceJob:
    seed = seed_of(place.work.config.generate.seed, place.question_id, place.sample)
    name = (place.index, place.sample)
    return TraceJob(name, place.work.key, policy, place.trace, place.sampling, seed, place.store)


def _group_job(policy: GroupPolicy, place: _Place) -> GroupJob:
    generate = place.work.config.generate
    group = Group(place.question_id, place.sample, generate.samples, place.trace)
    seeds = partial(branch_seed, generate.seed, place.question_id)
    name = (place.index, place.sample)
    return GroupJob(name, place.work.key, policy, group, place.sampling, seeds, place.store, place.scorer)


def _jobs(
    pending: PendingTraces, make: MakeJob, store: Continuations, prompts: Prompts, scorer: Scorer | None
) -> Iterator[Job]:
    """One job for each question and sample."""
    config = pending.work.config
    starts = prompts.of(config.thinking_format, pending.questions)
    for index, (question, trace) in enumerate(zip(pending.questions, starts, strict=True)):
        for sample in range(config.generate.samples):
            yield make(_Place(index, sample, question.question_id, trace, pending.work, store, scorer))
