"""The rewards stage: a reward model reads traces and gives each a score from 0 to 1.

rewards.jsonl    RewardRow, one per question and sample, in the order of the traces
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from s1.config.schema import ConfigError, EngineKind
from s1.generate.engines import require_planned
from s1.generate.trace_row import TRACES_FILE
from s1.models.location import model_location, model_read
from s1.records import REWARDS, Question, RewardRow, TraceRow, read_rows, write_rows
from s1.reward.scoring import RewardModel, load_reward_model, trace_reward
from s1.reward.steps import RewardText
from s1.stages import RewardsConfig
from sweep.core.stage import Finished, Work


def rewards(works: Sequence[Work[RewardsConfig]]) -> Iterator[Finished]:
    """Batch stage function; inputs `reward`, `traces`, `questions`. The stages of a batch share the loaded model."""
    first = works[0]
    if any(work.config != first.config or work.one("reward") != first.one("reward") for work in works):
        raise ConfigError("stages of one batch: different reward models. Give each reward model its own batch.")
    require_planned(EngineKind.TRANSFORMERS, first.config.libraries)
    weights = first.one("reward")
    model = load_reward_model(
        model_location(weights), first.config.scoring, first.config.dtype, str(first.settings["device"])
    )
    for work in works:
        rows = list(_rows(work, model))
        write_rows(work.out / REWARDS, rows)
        summary = {
            "traces": len(rows),
            "reward": sum(row.score for row in rows) / len(rows),
            "unread": sum(not row.steps for row in rows),  # without any step, or too long
        }
        yield Finished(work.key, {**summary, **model_read(weights)})


def _rows(work: Work[RewardsConfig], model: RewardModel) -> Iterator[RewardRow]:
    asked = {each.question_id: each.prompt for each in read_rows(work.one("questions") / "questions.jsonl", Question)}
    traces = read_rows(work.one("traces") / TRACES_FILE, TraceRow)
    for number, trace in enumerate(traces, start=1):
        text = RewardText(asked[trace.question_id], trace.thinking, trace.answer)
        steps = model.step_rewards(text)
        score = trace_reward(steps, work.config.scoring.step_aggregation)
        yield RewardRow(trace.question_id, trace.sample, steps, score)
        work.report(number, len(traces), "traces")
