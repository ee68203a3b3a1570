"""Reward models inside the generation worker, for methods that ask one while they generate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from s1.config.reward import RewardScoring
from s1.generate.group import RewardRequest, Rewards, Scorer
from s1.generate.shards import planned_questions
from s1.generate.trace import Part
from s1.models.location import model_location
from s1.models.thinking_format import Tokenizer, decode
from s1.reward.scoring import RewardModel, load_reward_model
from s1.reward.steps import RewardText
from s1.stages import TracesConfig
from sweep.core.stage import Work


class ThinkingScorer:
    """Judges the thinking of a trace, answered or not: one reward for the whole of it."""

    def __init__(self, model: RewardModel, questions: Mapping[str, str], tokenizer: Tokenizer) -> None:
        self._model, self._questions, self._tokenizer = model, questions, tokenizer

    def score(self, requests: Sequence[RewardRequest]) -> Sequence[Rewards]:
        return [(self._model.reward(self._text(request)),) for request in requests]

    def _text(self, request: RewardRequest) -> RewardText:
        thinking = decode(request.trace.part_ids(Part.THINKING), self._tokenizer)
        return RewardText(self._questions[request.question_id], thinking, answer="")


def scorers_of(works: Sequence[Work[TracesConfig]], tokenizer: Tokenizer) -> dict[str, Scorer | None]:
    """The scorer of each stage, by its key; stages with the same reward model share it."""
    models: dict[tuple[Path, RewardScoring], RewardModel] = {}
    scorers: dict[str, Scorer | None] = {}
    for work in works:
        scoring, engine = work.config.reward, work.config.engine
        if scoring is None:
            scorers[work.key] = None
            continue
        place = (work.one("reward"), scoring)
        if place not in models:
            models[place] = load_reward_model(model_location(place[0]), scoring, engine.dtype, engine.device)
        questions = {each.question_id: each.prompt for each in planned_questions(work)}
        scorers[work.key] = ThinkingScorer(models[place], questions, tokenizer)
    return scorers
