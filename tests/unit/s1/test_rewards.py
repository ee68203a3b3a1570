"""Reward models on disk: what they read, what they give, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import LlamaForSequenceClassification, LlamaForTokenClassification

from s1 import pipeline
from s1.config.reward import OverlongInput, RewardForm, RewardScoring, StepAggregation
from s1.config.schema import ConfigError
from s1.generate.engines import installed_for_rewards
from s1.generate.rewards import rewards
from s1.models.location import Location, tokenizer_at
from s1.prefetch import ModelNeed, needs_of
from s1.records import AnswerEnd, Ending, Question, RewardRow, ScoreRow, TraceRow, read_rows, write_rows
from s1.reward.scoring import load_reward_model, trace_reward
from s1.reward.steps import RewardText, reward_input, steps_of
from s1.stages import RewardsConfig
from sweep.config.compose import compose
from sweep.core.stage import Finished, Stage, Work
from sweep.errors import InputError
from tests.support.training import start_model

PROCESS = RewardScoring(RewardForm.PROCESS, 64, OverlongInput.REFUSE, "{question}", True, 1, ".", StepAggregation.LAST)
CLASSIFIER = RewardScoring(
    RewardForm.CLASSIFIER, 64, OverlongInput.REFUSE, "{question}\n", False, 0, None, StepAggregation.LAST
)
SAMPLED = ("generate=sampled", "generate.samples=1")
QUESTION = "Dial @11. Ann +7 Bob +2. Dial now?"
TEXT = RewardText(QUESTION, "Dial @11 = 11. Ann +7 = 18. Bob +2 = 0. So 0.", "Final Answer: 0")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random language model, which is no reward model."""
    return start_model(tmp_path_factory.mktemp("plain"))


def with_head(plain: Path, out: Path, kind: type, classes: int) -> Path:
    """A reward model with a random head on the tiny model."""
    torch.manual_seed(0)
    model = kind.from_pretrained(plain, num_labels=classes)
    torch.nn.init.normal_(model.score.weight)
    model.save_pretrained(out)
    tokenizer_at(Location(str(plain), None)).save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def process(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_head(plain, tmp_path_factory.mktemp("process"), LlamaForTokenClassification, 2)


@pytest.fixture(scope="module")
def classifier(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_head(plain, tmp_path_factory.mktemp("classifier"), LlamaForSequenceClassification, 1)


# ---------------------------------------------------------------------------------------------- what it reads


def test_steps_are_cut_at_the_separator_and_the_answer_is_the_last() -> None:
    assert steps_of("One. Two.\nThree", " 4 ", ".") == ["One", "Two", "Three", "4"]
    assert steps_of("One.\n\nTwo.\n", "", "\n") == ["One.", "Two."]
    assert steps_of("", "", ".") == []


def test_a_process_reward_model_reads_the_separator_after_each_step(process: Path) -> None:
    tokenizer = tokenizer_at(Location(str(process), None))
    read = reward_input(TEXT, PROCESS, tokenizer)
    assert tokenizer.decode(list(read.ids)) == f"{QUESTION}Dial @11 = 11.Ann +7 = 18.Bob +2 = 0.So 0.Final Answer: 0."
    assert [tokenizer.decode([read.ids[place]]) for place in read.places] == ["."] * 5
    assert read.places[-1] == len(read.ids) - 1


def test_a_classifier_reads_the_answer_and_the_thinking_only_on_request(classifier: Path) -> None:
    tokenizer = tokenizer_at(Location(str(classifier), None))
    texts = {
        reads: tokenizer.decode(list(reward_input(TEXT, replace(CLASSIFIER, reads_thinking=reads), tokenizer).ids))
        for reads in (False, True)
    }
    assert texts[False] == f"{QUESTION}\nFinal Answer: 0"
    assert texts[True] == f"{QUESTION}\n{TEXT.thinking}\n\nFinal Answer: 0"
    chat = reward_input(TEXT, replace(CLASSIFIER, prompt=None), tokenizer)
    assert tokenizer.decode(list(chat.ids)) == (
        f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\nFinal Answer: 0<|im_end|>\n"
    )


# ---------------------------------------------------------------------------------------------- what it gives


def test_step_rewards_are_the_probabilities_of_the_class_at_each_separator(process: Path) -> None:
    given = load_reward_model(Location(str(process), None), PROCESS, "float32", "cpu").step_rewards(TEXT)
    model = LlamaForTokenClassification.from_pretrained(process).eval()
    read = reward_input(TEXT, PROCESS, tokenizer_at(Location(str(process), None)))
    with torch.inference_mode():
        expected = model(torch.tensor([read.ids])).logits[0].softmax(-1)[list(read.places), 1]
    assert given == pytest.approx(expected.tolist())
    assert len(set(given)) == 5
    other = load_reward_model(Location(str(process), None), replace(PROCESS, label=0), "float32", "cpu")
    assert other.step_rewards(TEXT) == pytest.approx([1 - each for each in given])


def test_a_step_has_the_same_reward_whatever_follows(process: Path) -> None:
    model = load_reward_model(Location(str(process), None), PROCESS, "float32", "cpu")
    shorter = model.step_rewards(RewardText(QUESTION, "Dial @11 = 11. Ann +7 = 18.", ""))
    assert shorter == pytest.approx(model.step_rewards(TEXT)[:2])


def test_a_classifier_with_one_output_gives_its_sigmoid(classifier: Path) -> None:
    scored = load_reward_model(Location(str(classifier), None), CLASSIFIER, "float32", "cpu")
    model = LlamaForSequenceClassification.from_pretrained(classifier).eval()
    model.config.pad_token_id = None
    read = reward_input(TEXT, CLASSIFIER, tokenizer_at(Location(str(classifier), None)))
    with torch.inference_mode():
        expected = model(torch.tensor([read.ids])).logits.sigmoid().item()
    assert scored.step_rewards(TEXT) == pytest.approx([expected])


def test_a_classifier_judges_a_text_that_ends_in_its_padding_token(classifier: Path) -> None:
    """transformers takes the last token that is no padding, which would be another one."""
    scored = load_reward_model(Location(str(classifier), None), CLASSIFIER, "float32", "cpu")
    padded = replace(TEXT, answer="Final Answer: 0<|endoftext|>")
    assert abs(scored.reward(padded) - scored.reward(TEXT)) > 1e-3


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [(StepAggregation.LAST, 0.5), (StepAggregation.MIN, 0.25), (StepAggregation.PRODUCT, 0.0625)],
)
def test_steps_become_a_reward_of_the_trace(aggregation: StepAggregation, expected: float) -> None:
    assert trace_reward([0.5, 0.25, 0.5], aggregation) == expected
    assert trace_reward([], aggregation) == 0.0


# --------------------------------------------------------------------------------------------- what is refused


def test_a_model_without_a_classifier_is_refused(plain: Path) -> None:
    """transformers would put random weights in its place."""
    for scoring in (PROCESS, CLASSIFIER):
        with pytest.raises(ConfigError, match="has no weights for score"):
            load_reward_model(Location(str(plain), None), scoring, "float32", "cpu")


def test_a_class_that_the_model_lacks_is_refused(process: Path) -> None:
    with pytest.raises(ConfigError, match=r"reward\.label 2: the model has 2 classes\."):
        load_reward_model(Location(str(process), None), replace(PROCESS, label=2), "float32", "cpu")


def test_a_context_beyond_that_of_the_reward_model_is_refused(process: Path) -> None:
    with pytest.raises(ConfigError, match=r"reward\.context_tokens 4096: the reward model supports at most 2048\."):
        load_reward_model(Location(str(process), None), replace(PROCESS, context_tokens=4096), "float32", "cpu")


def test_a_trace_longer_than_the_reward_model_reads_is_refused_and_not_cut(process: Path) -> None:
    model = load_reward_model(Location(str(process), None), replace(PROCESS, context_tokens=20), "float32", "cpu")
    with pytest.raises(ConfigError, match=r"reward\.context_tokens 20: a trace has \d+ tokens"):
        model.step_rewards(TEXT)


def test_a_trace_that_is_too_long_gets_nothing_if_that_is_wanted(process: Path) -> None:
    lenient = replace(PROCESS, context_tokens=20, overlong=OverlongInput.ZERO)
    model = load_reward_model(Location(str(process), None), lenient, "float32", "cpu")
    assert (model.step_rewards(TEXT), model.reward(TEXT)) == ([], 0.0)
    assert model.step_rewards(RewardText(QUESTION, "", "9")) != []


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["budget=rebase", *SAMPLED], "reward none: budget.forcing=rebase asks a reward model of form process."),
        (["budget=rebase", *SAMPLED, "reward=skywork_v2_8b"], "reward skywork_v2_8b: budget.forcing=rebase asks a"),
        (
            ["budget=rebase", "reward=laptop_prm"],
            "generate.temperature 0: the branches of budget=rebase would be",
        ),
        (["budget=rebase", "budget.max_thinking_tokens=8"], "budget.max_thinking_tokens 8: budget=rebase forces no"),
        (["budget=rebase", "budget.rebase.width=0"], "budget.rebase.width 0: below 1."),
        (
            ["budget=rebase", "budget.rebase.step_ends=['']"],
            "budget.rebase.step_ends '': an empty text ends",
        ),
        (["budget.forcing=rebase"], "budget.rebase null: budget.forcing is rebase."),
        (["budget=rebase", "budget.forcing=budget"], "budget.rebase set: budget.forcing is budget."),
        (["budget=best_of_n", "generate=sampled"], "reward none: budget.aggregation=best_of_n compares the rewards"),
        (["budget=weighted_vote", "generate=sampled"], "reward none: budget.aggregation=weighted_vote compares the"),
        (
            ["budget=rebase", "budget.aggregation=majority_vote", "generate=sampled"],
            "reward none: budget.forcing=rebase",
        ),
        (["reward=laptop_prm", "reward.step_separator=null"], "reward.step_separator null: nothing would end a step."),
        (["reward=laptop_prm", "reward.prompt=null"], "reward.prompt null: a process reward model reads no chat"),
        (["reward=laptop_prm", "reward.prompt=Rate:"], "reward.prompt 'Rate:': no {question} in it."),
        (["reward=laptop_prm", "reward.training=null"], "reward.training null: reward.kind is trained."),
        (["reward=laptop_prm", "reward.training.train.dtype=bfloat16"], "a reward model trains in float32"),
        (["reward=skywork_v2_8b", "reward.step_separator='.'"], "reward.step_separator '.': a classifier reads no"),
        (["reward=skywork_v2_8b", "reward.repo=null"], "reward.repo null: nothing to load."),
        (["reward=skywork_v2_8b", "reward.repo=a/b/c"], "reward.repo 'a/b/c': not a repository name."),
        (
            ["reward=math_shepherd_prm", "reward.kind=directory", "reward.repo=nowhere"],
            "reward.repo 'nowhere': no such directory.",
        ),
    ],
)
def test_a_reward_model_that_cannot_serve_is_refused_at_composition(overrides: list[str], complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        compose(overrides)
    assert complaint in str(refused.value)


# ------------------------------------------------------------------------------------------------- the stages


def trace(question: Question, sample: int, thinking: str, answer: str) -> TraceRow:
    return TraceRow(
        question.question_id, sample, 9, [], thinking, answer, Ending.NATURAL, 12, 3, AnswerEnd.STOP, 0, 0, 16
    )


def work(place: Path, weights: Path, traces: Sequence[TraceRow], questions: Sequence[Question]) -> Work[RewardsConfig]:
    for name in ("questions", "traces", "out"):
        (place / name).mkdir(parents=True)
    write_rows(place / "questions" / "questions.jsonl", questions)
    write_rows(place / "traces" / "traces.jsonl", traces)
    inputs = {"reward": (weights,), "traces": (place / "traces",), "questions": (place / "questions",)}
    config = RewardsConfig(PROCESS, "float32", installed_for_rewards())
    out = place / "out"
    return Work(place.name, config, inputs, out, out, out, {"device": "cpu"}, lambda *_progress: None)


def test_the_rewards_of_a_batch_are_those_of_each_trace(tmp_path: Path, process: Path) -> None:
    asked = Question("q0", QUESTION, "0")
    first = [trace(asked, 0, TEXT.thinking, TEXT.answer), trace(asked, 1, "Dial @11 = 11.", "")]
    works = [work(tmp_path / "a", process, first, [asked]), work(tmp_path / "b", process, first[1:], [asked])]
    finished = list(rewards(works))
    model = load_reward_model(Location(str(process), None), PROCESS, "float32", "cpu")
    rows = read_rows(tmp_path / "a" / "out" / "rewards.jsonl", RewardRow)
    assert [(row.question_id, row.sample) for row in rows] == [("q0", 0), ("q0", 1)]
    assert rows[0].steps == model.step_rewards(TEXT)
    assert [row.score for row in rows] == [row.steps[-1] for row in rows]
    assert finished[0] == Finished("a", {"traces": 2, "reward": (rows[0].score + rows[1].score) / 2, "unread": 0})
    (alone,) = read_rows(tmp_path / "b" / "out" / "rewards.jsonl", RewardRow)
    assert alone.steps == rows[1].steps


def planned(*overrides: str) -> pipeline.PointStages:
    (point,) = compose(list(overrides)).points
    return pipeline.stages_of(point)


def test_a_reward_model_changes_the_keys_of_rewards_and_scores_alone() -> None:
    without, judged, other = planned(), planned("reward=laptop_prm"), planned("reward=laptop_prm", "reward.label=0")
    assert without.evaluation.traces.key == judged.evaluation.traces.key
    assert without.evaluation.rewards is None
    assert judged.evaluation.rewards is not None
    assert judged.evaluation.rewards in judged.evaluation.scores.dependencies()
    keys = {each.evaluation.scores.key for each in (without, judged, other)}
    assert len(keys) == 3
    assert _weights(judged).key == _weights(other).key


def _weights(stages: pipeline.PointStages) -> Stage:
    assert stages.evaluation.rewards is not None
    weights = stages.evaluation.rewards.inputs["reward"][0]
    assert isinstance(weights, Stage)
    return weights


def test_only_a_method_that_asks_the_reward_model_has_it_in_its_traces() -> None:
    searched, plain = (planned(*each, *SAMPLED, "reward=laptop_prm") for each in (["budget=rebase"], []))
    assert searched.evaluation.traces.inputs["reward"] == (_weights(plain),)
    assert "reward" not in plain.evaluation.traces.inputs
    assert searched.evaluation.traces.config.reward is not None
    assert searched.evaluation.traces.batch == plain.evaluation.traces.batch


def test_a_reward_model_on_the_hub_is_pinned_and_prefetched_as_models_are() -> None:
    composition = compose(["reward=math_shepherd_prm"])
    graph = pipeline.graph(composition.points, composition.request)
    weights = _weights(planned("reward=math_shepherd_prm"))
    assert needs_of([weights]) == (ModelNeed("trl-lib/Qwen2-0.5B-Reward-Math-Sheperd", None),)
    (line,) = graph.unpinned([weights])
    assert line.startswith("reward.revision null: trl-lib/Qwen2-0.5B-Reward-Math-Sheperd is unpinned.")


def test_a_local_reward_model_is_identified_by_its_content(process: Path, tmp_path: Path) -> None:
    copied = tmp_path / "elsewhere"
    copied.mkdir()
    for path in process.iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    local = ("reward=math_shepherd_prm", "reward.kind=directory", "reward.step_separator='.'")
    here, there = (_weights(planned(*local, f"reward.repo={place}")).key for place in (process, copied))
    assert here == there
    (copied / "config.json").write_text((copied / "config.json").read_text().replace("512", "511") + "\n")
    assert _weights(planned(*local, f"reward.repo={copied}")).key != here


def test_a_score_without_a_reward_is_written_as_before(tmp_path: Path) -> None:
    row = ScoreRow("q0", 0, "0", "0", True, None, Ending.NATURAL, 12, 3, AnswerEnd.STOP, 0, 0, 16)  # pyright: ignore
    write_rows(tmp_path / "scores.jsonl", [row, replace(row, reward=0.25)])
    before, after = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert "reward" not in before
    assert after.endswith('"reward": 0.25}')
