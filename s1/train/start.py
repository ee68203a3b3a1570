"""The model before fine-tuning, as a directory in Hugging Face layout, or a pointer to one too large to copy.

    fresh       a small Llama with seeded random weights; its tokenizer knows the pieces of the dial problems
    gguf        a GGUF file inside an installed Python package, dequantised to float32
    hub         location.json {"model": repository, "revision": commit}; the files stay in the hub's cache, and are
                loaded from the snapshot directory of that commit
    directory   location.json {"model": path, "revision": null}

Whoever loads a model asks `model_location` where it is. Safetensors only, and no code from a repository is run.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from s1.config import Architecture, ConfigError, ModelKind
from s1.data.dial import Family
from s1.hub import snapshot
from s1.pins import RepoKind, name_of
from s1.stages import Start
from sweep.stage import Summary, Work

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POINTER = "location.json"
HUB_FILES = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model")
WEIGHTS_INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
PAD, OPEN, CLOSE = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_PIECES = ("user", "assistant", "think", "answer", "Final", " Answer:")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A word, a mark or a whole number, each with its leading space. " Answer:" is one piece so that nothing but an answer
# ever follows its last token, wherever the thinking was cut.
PIECE = r" ?Answer:| ?[+@]?\d+| ?[A-Za-z]+| ?[^\sA-Za-z\d]|\s"


class Location(NamedTuple):
    """What `from_pretrained` takes: a path or a repository, and the revision of a repository."""

    model: str
    revision: str | None


def model_location(directory: Path) -> Location:
    """Where the model of a `start` or `checkpoint` product is to be loaded from: always a directory.

    Of a hub model the snapshot of its commit, fetched if this machine lacks it. Raises ConfigError if it cannot be had.
    """
    location = _pointed_to(directory)
    if location is None or location.revision is None:
        return location or Location(str(directory), None)
    return Location(str(model_snapshot(location.model, location.revision)), None)


def commit_read(directory: Path) -> dict[str, str]:
    """For the summary of whoever loads that model: the commit of a hub model; nothing of others."""
    location = _pointed_to(directory)
    return {"model_commit": location.revision} if location and location.revision else {}


def _pointed_to(directory: Path) -> Location | None:
    """What location.json says; None: the model is in the directory itself."""
    pointer = directory / POINTER
    return Location(**json.loads(pointer.read_text(encoding="utf-8"))) if pointer.exists() else None


def model_snapshot(repo: str, revision: str | None) -> Path:
    """The files of a hub model at its commit. Raises ConfigError if they cannot be had, or not whole."""
    folder = snapshot("model.repo", name_of(RepoKind.MODEL, repo, revision), HUB_FILES)
    _check_whole(folder, repo)
    return folder


def tokenizer_at(location: Location) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; no code from a repository is run."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(location.model, revision=location.revision, trust_remote_code=False)


def materialise(work: Work[Start]) -> Summary:
    """Make the model, or find it and say where it is."""
    make = {
        ModelKind.FRESH: _fresh,
        ModelKind.GGUF: _gguf,
        ModelKind.HUB: _hub,
        ModelKind.DIRECTORY: _directory,
    }
    return make[work.config.kind](work)


# ------------------------------------------------------------------------------------------ made in place


def _fresh(work: Work[Start]) -> Summary:
    config = work.config
    if config.architecture is None or config.dial is None:
        raise ConfigError("model.architecture null: a fresh model needs one, and a dial. Choose model=laptop.")
    _hide_progress_bars()
    tokenizer = piece_tokenizer((*CHAT_PIECES, *Family(config.dial).pieces()))
    return _save(random_model(config.architecture, tokenizer, config.seed), tokenizer, work.out)


def piece_tokenizer(pieces: tuple[str, ...]) -> PreTrainedTokenizerBase:
    """A tokenizer that gives each piece one token and spells everything else in bytes, so any text survives it."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
    from transformers import PreTrainedTokenizerFast

    in_bytes = ByteLevel(add_prefix_space=False, use_regex=False)
    spelled = ["".join(text for text, _ in in_bytes.pre_tokenize_str(piece)) for piece in pieces]
    entries = dict.fromkeys((PAD, OPEN, CLOSE, *sorted(ByteLevel.alphabet()), *spelled))
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    # ignore_merges: a whole piece is looked up as it is; without merges all else falls apart into bytes.
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = Sequence([Split(Regex(PIECE), behavior="isolated"), in_bytes])
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.add_special_tokens([PAD, OPEN, CLOSE])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=CLOSE,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def random_model(architecture: Architecture, tokenizer: PreTrainedTokenizerBase, seed: int) -> PreTrainedModel:
    """A Llama with tied embeddings and weights that depend on the seed alone.

    Not a Qwen2: transformers replaces the tokenizer of whatever calls itself qwen2 by Qwen's, which splits numbers.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.feed_forward_size,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        attention_bias=True,  # without it, re-checks copied the turns wrongly (LOG.md)
        rope_parameters={"rope_type": "default", "rope_theta": architecture.rope_theta},
        initializer_range=architecture.initializer_range,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def _gguf(work: Work[Start]) -> Summary:
    path = gguf_path(work.config.repo or "", work.config.file or "")
    if importlib.util.find_spec("gguf") is None:
        raise ConfigError("model.kind gguf: the package that reads such files is not installed. Run `make smollm`.")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _hide_progress_bars()
    folder, file = str(path.parent), path.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    return _save(model, tokenizer, work.out)


def gguf_path(package: str, file: str) -> Path:
    """Where a package keeps a file; found without importing the package, whose code is not ours to run.

    To find an inner package Python would import the one around it, so a name with dots is refused.
    """
    if not package.isidentifier():
        raise ConfigError(
            f"model.repo {package!r}: not the name of a top-level package. Give it without dots or paths."
        )
    folder = _package_folder(package)
    if folder is None:
        raise ConfigError(f"model.repo {package!r}: no such package is installed. Run `make smollm`.")
    if not file or Path(file).name != file or "\\" in file:
        raise ConfigError(
            f"model.file {file!r}: not the name of a file. Give a GGUF file of the package, without folders."
        )
    if not (folder / file).is_file():
        there = ", ".join(sorted(path.name for path in folder.glob("*.gguf"))) or "none"
        raise ConfigError(f"model.file {file!r}: not in {folder}. GGUF files there: {there}.")
    return folder / file


def _package_folder(package: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # imported already, by something that has no spec
        return None
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> Summary:
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return {"parameters": model.num_parameters(), "vocabulary": len(tokenizer)}


def _hide_progress_bars() -> None:
    from transformers.utils import logging

    logging.disable_progress_bar()


# --------------------------------------------------------------------------------- found, and pointed to


def _hub(work: Work[Start]) -> Summary:
    repo, revision = work.config.repo or "", work.config.revision
    files = model_snapshot(repo, revision)
    return {**_point(work.out, Location(repo, revision), files), "commit": revision}


def _directory(work: Work[Start]) -> Summary:
    folder = work.inputs["files"][0].parent
    _check_whole(folder, str(folder))
    return _point(work.out, Location(str(folder), None), folder)


def _point(out: Path, location: Location, files: Path) -> Summary:
    """Write down where the model is."""
    (out / POINTER).write_text(json.dumps(location._asdict()) + "\n", encoding="utf-8")
    return {"bytes": sum(path.stat().st_size for path in files.glob("*.safetensors"))}


def _check_whole(files: Path, model: str) -> None:
    """Refuse a model without a configuration, a tokenizer or all of its weights."""
    for needed in (("config.json",), TOKENIZER_FILES, ("*.safetensors",)):
        if not any(any(files.glob(pattern)) for pattern in needed):
            raise ConfigError(
                f"model.repo {model!r}: no {' or '.join(needed)} in {files}. Give a model in Hugging Face layout."
            )
    index = files / WEIGHTS_INDEX
    if not index.exists():
        return
    try:
        named = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError):
        raise ConfigError(f"model.repo {model!r}: {index} lists no weights. Fetch or save the model again.") from None
    if missing := [name for name in named if not (files / name).is_file()]:
        raise ConfigError(
            f"model.repo {model!r}: {len(missing)} of {len(named)} files of weights are missing in {files}:"
            f" {missing[0]}. Fetch or save the model again."
        )
