"""Load, extract and save the weights of a fine-tuning run.

    full     every weight is trained, in recipe.weights_dtype
    lora     W + (alpha / rank) B A: A and B are trained, W is frozen          (Hu et al. 2021)
    qlora    the same with W in 4 bits (NF4, double quantization)              (Dettmers et al. 2023)

For every method and number of processes, the output is a complete model that `from_pretrained` loads: the base model,
loaded again, with the trained weights inserted or merged, in recipe.dtype, with the base model's tokenizer, config and
generation config. Only training uses 4 bits: adapters are merged into the unquantized base model.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s1.config.schema import ConfigError, Train, TrainMethod
from s1.models.location import Location, tokenizer_at
from sweep.places import requirement

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

GENERATION_CONFIG = "generation_config.json"
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
WRAPPERS = ("_checkpoint_wrapped_module.", "_fsdp_wrapped_module.", "_orig_mod.")  # in names of parameters


def load_for_training(location: Location, recipe: Train) -> Any:
    """Load the base model as the method trains it: all weights, or with adapters."""
    quantization = _quantization_config(recipe) if recipe.method is TrainMethod.QLORA else None
    model = _load(location, recipe.weights_dtype, quantization)
    return model if recipe.lora is None else _with_adapters(model, recipe)


def trained_weights(model: Any, keep: bool) -> dict[str, torch.Tensor]:
    """The trained weights by name, on the CPU; every process must call this, but only those with `keep` get them."""
    weights = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        # full_tensor gathers the shards of all processes.
        whole = parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter
        if keep:
            weights[_plain(name)] = whole.detach().cpu()
    return weights


def save_model(weights: Mapping[str, torch.Tensor], location: Location, recipe: Train, out: Path) -> None:
    """Write the base model with `weights` inserted or merged; rounding happens once, at the end."""
    import torch

    model = _load(location, "float32" if recipe.lora else recipe.dtype, None)
    target: Any = model if recipe.lora is None else _with_adapters(model, recipe)
    missing, unexpected = target.load_state_dict(weights, strict=False)
    if unexpected or any("lora_" in name for name in missing):
        raise RuntimeError(f"trained weights do not fit the base model: {[*unexpected, *missing][:3]}. Train again.")
    if recipe.lora is not None:
        model = target.merge_and_unload()
    model.to(getattr(torch, recipe.dtype)).save_pretrained(out)
    if (own := Path(location.model) / GENERATION_CONFIG).exists():
        shutil.copyfile(own, out / GENERATION_CONFIG)
    tokenizer = tokenizer_at(location)
    tokenizer.init_kwargs.pop("local_files_only", None)  # set by HF_HUB_OFFLINE on this machine
    tokenizer.save_pretrained(out)


def _load(location: Location, dtype: str, quantization: Any) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM, GenerationConfig

    options = {} if quantization is None else {"quantization_config": quantization}
    model = AutoModelForCausalLM.from_pretrained(
        location.model,
        revision=location.revision,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        **options,
    )
    if (Path(location.model) / GENERATION_CONFIG).exists():
        # save_model copies the file: some that load, with a temperature but no do_sample, cannot be saved.
        model.generation_config = GenerationConfig()
    else:
        model.generation_config = _savable(model.generation_config)
    return model


def _savable(derived: Any) -> Any:
    """A generation config that transformers derived from an old config.json; only its token ids if it is invalid."""
    from transformers import GenerationConfig

    try:
        derived.validate(strict=True)
    except ValueError:
        return GenerationConfig(**{name: getattr(derived, name) for name in TOKENS})
    return derived


def _with_adapters(model: Any, recipe: Train) -> Any:
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


def _quantization_config(recipe: Train) -> Any:
    if find_spec("bitsandbytes") is None:
        raise ConfigError(f"train.method qlora: bitsandbytes is not installed. Run pip install {requirement('qlora')}.")
    import torch
    from transformers import BitsAndBytesConfig

    dtype = getattr(torch, recipe.dtype)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,  # a float type, so that FSDP2 can shard it
    )


def _plain(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.replace(wrapper, "")
    return name
