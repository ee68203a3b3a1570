"""Reward stages: the weights of a point's reward model.

trained               reward_examples -> reward_model
                      base_model [-> checkpoint, its pretraining] ---^
hub or directory      base_model

The stage `rewards`, in which the model reads traces, is among the evaluation stages (s1/evaluation_stages.py).
"""

from __future__ import annotations

from s1.config.resources import JobKind, resources_of, settings_of
from s1.config.reward import Reward, RewardKind, RewardTraining
from s1.config.schema import ModelKind
from s1.evaluation_stages import RewardSpec
from s1.generate.engines import installed_for_rewards
from s1.point import PointConfig
from s1.stages import BaseModelConfig, RewardExamplesConfig, RewardModelConfig
from s1.training_stages import pretrained_of, weights_of
from sweep.core.stage import CodePolicy, Resources, Stage


def reward_spec_of(point: PointConfig) -> RewardSpec | None:
    """How a point's reward model scores traces; None for a point without one."""
    reward = point.reward
    if reward is None:
        return None
    resources = Resources(script=JobKind.GENERATE.value, devices=min(1, point.machine.gpus))
    return RewardSpec(
        weights=_weights_of(point, reward),
        scoring=reward.scoring,
        dtype=point.machine.dtype,
        libraries=installed_for_rewards(),
        settings=settings_of(point.machine, point.cost, resources),
        resources=resources,
        label=reward.name,
    )


def _weights_of(point: PointConfig, reward: Reward) -> Stage:
    if reward.training is not None:
        return _trained(point, reward, reward.training)
    config = BaseModelConfig(
        kind=ModelKind.DIRECTORY if reward.kind is RewardKind.DIRECTORY else ModelKind.HUB,
        repo=reward.repo,
        revision=reward.revision,
        file=None,
        architecture=None,
        dial=None,
        seed=0,
    )
    return weights_of(config, reward.name)


def _trained(point: PointConfig, reward: Reward, training: RewardTraining) -> Stage:
    separator = reward.step_separator or ""
    examples = Stage(
        name="reward_examples",
        version=1,
        config=RewardExamplesConfig(training.dial, training.examples, training.held_out, separator, training.seed),
        run="s1.reward.examples:reward_examples",
        label=reward.name,
        code=CodePolicy.UPSTREAM,
    )
    resources = resources_of(JobKind.CPU, point.machine)
    return Stage(
        name="reward_model",
        version=1,
        config=RewardModelConfig(training.train, reward.prompt, separator),
        run="s1.train.reward_model:train_reward_model",
        inputs={"model": (pretrained_of(point, training.model),), "examples": (examples,)},
        settings=settings_of(point.machine, point.cost, resources),
        resources=resources,
        label=reward.name,
        code=CodePolicy.EXPENSIVE,
    )
