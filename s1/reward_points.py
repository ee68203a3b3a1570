"""Validate the group `reward` at composition."""

from __future__ import annotations

from dataclasses import replace

from s1.config.reward import Reward, RewardForm, RewardKind, RewardTraining
from s1.config.schema import ConfigError, ModelKind, TrainMethod
from s1.own_model import json_of
from s1.train.validation import check_recipe
from sweep.places import expanded


def described_reward(reward: Reward | None) -> Reward | None:
    """A local reward model with its path resolved. Raises ConfigError for a directory that holds no model."""
    if reward is None or reward.kind is not RewardKind.DIRECTORY:
        return reward
    folder = expanded("reward.repo", reward.repo or "")
    if reward.repo is None or not folder.is_dir():
        raise ConfigError(f"reward.repo {reward.repo!r}: no such directory. Give one in Hugging Face layout.")
    json_of(folder / "config.json", f"reward.repo {reward.repo!r}")
    return replace(reward, repo=str(folder))


def check_reward(reward: Reward, device: str) -> None:
    """Check that the fields of a reward model agree with its kind and form."""
    if reward.kind is not RewardKind.TRAINED and not reward.repo:
        raise ConfigError("reward.repo null: nothing to load. Name a hub repository or a directory.")
    if (reward.kind is RewardKind.TRAINED) != (reward.training is not None):
        raise ConfigError(
            f"reward.training {'null' if reward.training is None else 'set'}: reward.kind is {reward.kind.value}."
            " Choose reward=laptop_prm to train one, or set reward.training=null."
        )
    if reward.prompt is not None and "{question}" not in reward.prompt:
        raise ConfigError(
            f"reward.prompt {reward.prompt!r}: no {{question}} in it. Write {{question}} where it belongs."
        )
    _check_form(reward)
    if reward.training is not None:
        _check_training(reward.training, reward.form, device)


def _check_form(reward: Reward) -> None:
    if reward.form is RewardForm.CLASSIFIER:
        if reward.step_separator is not None:
            raise ConfigError(
                f"reward.step_separator {reward.step_separator!r}: a classifier reads no steps. Set it to null."
            )
        return
    if not reward.step_separator:
        given = "null" if reward.step_separator is None else "''"
        raise ConfigError(
            f"reward.step_separator {given}: nothing would end a step. Give the text that did so when the model was"
            " trained."
        )
    if reward.prompt is None:
        raise ConfigError(
            "reward.prompt null: a process reward model reads no chat template. Write the prompt of its training:"
            " 'reward.prompt=\"{question}\"'."
        )


def _check_training(training: RewardTraining, form: RewardForm, device: str) -> None:
    if form is not RewardForm.PROCESS:
        raise ConfigError("reward.form classifier: only process reward models are trained here. Set it to process.")
    if training.model.kind is not ModelKind.FRESH:
        raise ConfigError(
            f"reward.training.model.kind {training.model.kind.value}: the training starts from a fresh model."
            " Choose model@reward.training.model=laptop."
        )
    recipe = training.train
    check_recipe(recipe, device)
    if recipe.method is not TrainMethod.FULL:
        raise ConfigError(
            f"reward.training.train.method {recipe.method.value}: a reward model is trained with all its weights."
            " Set it to full."
        )
    if "bfloat16" in (recipe.dtype, recipe.weights_dtype):
        raise ConfigError("reward.training.train.dtype bfloat16: a reward model trains in float32. Set it to float32.")
