"""Training recipes that no run could honour, refused at composition and again by the worker."""

from __future__ import annotations

from s1.config import ConfigError, Method, Train

PRECISIONS = ("float32", "bfloat16")


def check_recipe(recipe: Train, device: str) -> None:
    """Raises ConfigError that names the field, its value and the mend."""
    if (recipe.epochs is None) == (recipe.steps is None):
        raise ConfigError(
            f"train.steps {recipe.steps}: with train.epochs {recipe.epochs} the length of training is not told once."
            " Give one of them, and null for the other."
        )
    for field in ("epochs", "steps", "batch_size", "block_size", "length_window"):
        value = getattr(recipe, field)
        if value is not None and value <= 0:
            raise ConfigError(f"train.{field} {value}: not positive. Give at least 1.")
    if not 0 <= recipe.warmup_share < 1:
        raise ConfigError(
            f"train.warmup_share {recipe.warmup_share}: not from 0 to below 1. Give a share, such as 0.05."
        )
    _check_precision(recipe)
    _check_method(recipe, device)


def _check_precision(recipe: Train) -> None:
    for field in ("dtype", "weights_dtype"):
        if getattr(recipe, field) not in PRECISIONS:
            raise ConfigError(
                f"train.{field} {getattr(recipe, field)!r}: not a precision we train in."
                f" Choose {' or '.join(PRECISIONS)}."
            )
    if recipe.weights_dtype == "bfloat16" and recipe.dtype == "float32":
        raise ConfigError(
            "train.weights_dtype 'bfloat16': coarser than train.dtype float32. Set dtype to bfloat16 as well."
        )


def _check_method(recipe: Train, device: str) -> None:
    if (recipe.lora is None) != (recipe.method is Method.FULL):
        mend = (
            "Set it to null" if recipe.lora else "Give rank, alpha, dropout and targets, as conf/train/lora.yaml does"
        )
        raise ConfigError(f"train.lora {'given' if recipe.lora else 'null'}: method is {recipe.method.value}. {mend}.")
    if recipe.method is Method.QLORA and device != "cuda":
        raise ConfigError(
            f"train.method qlora: weights in four bits are computed on NVIDIA GPUs, the device is {device}."
            " Choose train.method=lora, or a machine with GPUs."
        )
