"""Training recipes that no run could honour, refused at composition and again by the worker."""

from __future__ import annotations

from s1.config.schema import ConfigError, Train, TrainMethod


def check_recipe(recipe: Train, device: str) -> None:
    """Raises ConfigError that names the field, its value and the mend."""
    if (recipe.epochs is None) == (recipe.steps is None):
        raise ConfigError(
            f"train.steps {recipe.steps}: with train.epochs {recipe.epochs} the length of training is not told once."
            " Give one of them, and null for the other."
        )
    if recipe.scheduler == "constant" and recipe.warmup_share > 0:
        raise ConfigError(
            f"train.warmup_share {recipe.warmup_share}: train.scheduler constant has no warm-up. Set it to 0, or choose"
            " constant_with_warmup."
        )
    _check_precision(recipe)
    _check_method(recipe, device)


def _check_precision(recipe: Train) -> None:
    if recipe.weights_dtype == "bfloat16" and recipe.dtype == "float32":
        raise ConfigError(
            "train.weights_dtype 'bfloat16': coarser than train.dtype float32. Set dtype to bfloat16 as well."
        )


def _check_method(recipe: Train, device: str) -> None:
    if (recipe.lora is None) != (recipe.method is TrainMethod.FULL):
        mend = (
            "Set it to null" if recipe.lora else "Give rank, alpha, dropout and targets, as conf/train/lora.yaml does"
        )
        raise ConfigError(f"train.lora {'given' if recipe.lora else 'null'}: method is {recipe.method.value}. {mend}.")
    if recipe.method is TrainMethod.QLORA and device != "cuda":
        raise ConfigError(
            f"train.method qlora: weights in four bits are computed on NVIDIA GPUs, the device is {device}."
            " Choose train.method=lora, or a machine with GPUs."
        )
