"""Validate training recipes, at composition and again in the worker."""

from __future__ import annotations

from s1.config.schema import ConfigError, Train, TrainMethod


def check_recipe(recipe: Train, device: str) -> None:
    """Raises ConfigError that names the field, its value and the fix."""
    if (recipe.epochs is None) == (recipe.steps is None):
        raise ConfigError(
            f"train.steps {recipe.steps}: exactly one of train.steps and train.epochs ({recipe.epochs}) must be set."
            " Set the other to null."
        )
    if recipe.scheduler == "constant" and recipe.warmup_share > 0:
        raise ConfigError(
            f"train.warmup_share {recipe.warmup_share}: train.scheduler constant has no warmup. Set it to 0, or choose"
            " constant_with_warmup."
        )
    _check_precision(recipe)
    _check_method(recipe, device)


def _check_precision(recipe: Train) -> None:
    if recipe.weights_dtype == "bfloat16" and recipe.dtype == "float32":
        raise ConfigError(
            "train.weights_dtype 'bfloat16': less precise than train.dtype float32. Set train.dtype to bfloat16 too."
        )


def _check_method(recipe: Train, device: str) -> None:
    if (recipe.lora is None) != (recipe.method is TrainMethod.FULL):
        fix = "Set it to null" if recipe.lora else "Set rank, alpha, dropout and targets, as conf/train/lora.yaml does"
        raise ConfigError(
            f"train.lora {'set' if recipe.lora else 'null'}: train.method is {recipe.method.value}. {fix}."
        )
    if recipe.method is TrainMethod.QLORA and device != "cuda":
        raise ConfigError(
            f"train.method qlora: 4-bit weights need NVIDIA GPUs, but the device is {device}."
            " Choose train.method=lora, or a machine with GPUs."
        )
