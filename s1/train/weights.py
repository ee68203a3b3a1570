"""The weights before, during and after fine-tuning.

    full     every weight is trained, in recipe.weights_dtype
    lora     W + (alpha / rank) B A: A and B are trained, W is frozen          (Hu et al. 2021)
    qlora    the same over W in four bits (NF4, twice quantised)               (Dettmers et al. 2023)

Whatever the method and the number of processes, the product is a whole model that `from_pretrained` loads: the start
model, loaded anew, with the trained weights put in or merged, in recipe.dtype, beside its own tokenizer, config and
generation config. Four bits serve training alone: what was learned is merged into the unquantised start model.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1.config.schema import ConfigError, Train, TrainMethod
from s1.models.location import Location, tokenizer_at

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

GENERATION_CONFIG = "generation_config.json"
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
WRAPPERS = ("_checkpoint_wrapped_module.", "_fsdp_wrapped_module.", "_orig_mod.")  # in names of parameters


def load_for_training(location: Location, recipe: Train) -> Any:
    """The start model as the method trains it: whole, or with adapters around it."""
    model = _load(location, recipe.weights_dtype, _four_bits(recipe) if recipe.method is TrainMethod.QLORA else None)
    return model if recipe.lora is None else _adapted(model, recipe)


def trained_weights(model: Any, keep: bool) -> dict[str, torch.Tensor]:
    """What was trained, by name, on the CPU; every process must ask, those that do not `keep` it get nothing."""
    weights = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter  # sharded over processes
        if keep:
            weights[_plain(name)] = whole.detach().cpu()
    return weights


def save_product(weights: Mapping[str, torch.Tensor], location: Location, recipe: Train, out: Path) -> None:
    """Write the whole model: the start model with `weights` in their places, or merged. Rounded once, at the end."""
    import torch

    model = _load(location, "float32" if recipe.lora else recipe.dtype, None)
    target: Any = model if recipe.lora is None else _adapted(model, recipe)
    missing, unexpected = target.load_state_dict(weights, strict=False)
    if unexpected or any("lora_" in name for name in missing):
        raise RuntimeError(f"trained weights do not fit the start model: {[*unexpected, *missing][:3]}")
    if recipe.lora is not None:
        model = target.merge_and_unload()
    model.to(getattr(torch, recipe.dtype)).save_pretrained(out)
    if (own := Path(location.model) / GENERATION_CONFIG).exists():
        shutil.copyfile(own, out / GENERATION_CONFIG)
    tokenizer = tokenizer_at(location)
    tokenizer.init_kwargs.pop("local_files_only", None)  # HF_HUB_OFFLINE of this machine is no part of the product
    tokenizer.save_pretrained(out)


def _load(location: Location, dtype: str, quantised: Any) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM, GenerationConfig

    options = {} if quantised is None else {"quantization_config": quantised}
    model = AutoModelForCausalLM.from_pretrained(
        location.model,
        revision=location.revision,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        **options,
    )
    if (Path(location.model) / GENERATION_CONFIG).exists():
        # Its own is copied as it is: some that can be loaded, with a temperature and no do_sample, cannot be saved.
        model.generation_config = GenerationConfig()
    else:
        model.generation_config = _savable(model.generation_config)
    return model


def _savable(derived: Any) -> Any:
    """What transformers made of an old config.json; of flags of sampling without do_sample, the tokens alone."""
    from transformers import GenerationConfig

    try:
        derived.validate(strict=True)
    except ValueError:
        return GenerationConfig(**{name: getattr(derived, name) for name in TOKENS})
    return derived


def _adapted(model: Any, recipe: Train) -> Any:
    """Adapters with seeded random A and zero B, the same in every process."""
    import torch
    from peft import LoraConfig, get_peft_model

    lora = recipe.lora
    assert lora is not None
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear" if lora.targets == ["all-linear"] else lora.targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return get_peft_model(model, config)


def _four_bits(recipe: Train) -> Any:
    if find_spec("bitsandbytes") is None:
        raise ConfigError("train.method qlora: bitsandbytes is not installed. Run `pip install -e '.[qlora]'`.")
    import torch
    from transformers import BitsAndBytesConfig

    dtype = getattr(torch, recipe.dtype)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,  # of a float type, so that it can be sharded over processes
    )


def _plain(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name
