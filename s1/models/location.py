"""The model before fine-tuning, as a directory in Hugging Face layout, or a pointer to one too large to copy.

    fresh       a small Llama with seeded random weights; its tokenizer knows the pieces of the dial problems
    gguf        a GGUF file inside an installed Python package, dequantised to float32
    hub         location.json {"model": repository, "revision": commit}; the files stay in the hub's cache, and are
                loaded from the snapshot directory of that commit
    directory   location.json {"model": path, "revision": null, "sha256": {file: hash}}

Whoever loads a model asks `model_location` where it is, and gets it hashed: against the hub's own hashes, or against
those of location.json. Safetensors only, and no code from a repository is run.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from s1.config.schema import Architecture, ConfigError, ModelKind
from s1.dial import Family
from s1.hub.files import FETCH, snapshot, verified
from s1.hub.pins import RepoKind, name_of
from s1.models.model_files import check_loadable, hashes_of_model, unchanged
from s1.stages import BaseModelConfig
from sweep.core.identity import key_of
from sweep.core.stage import Summary, Work

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

POINTER = "location.json"
WEIGHTS = "*.safetensors"
HUB_FILES = (WEIGHTS, "*.json", "*.txt", "*.jinja", "*.model")
WEIGHTS_INDEX = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
WORDS = "How many apples are 3 and 4?\nThink, then answer."
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

    Of a hub model the snapshot of its commit, fetched if this machine lacks it. All of its files were read, hashed and
    found to be what they should. Raises ConfigError if it cannot be had, or is damaged.
    """
    return _location(directory, HUB_FILES)


def tokenizer_location(directory: Path) -> Location:
    """The same for whoever loads the tokenizer alone: the weights are not read."""
    return _location(directory, [pattern for pattern in HUB_FILES if pattern != WEIGHTS])


def model_read(directory: Path) -> dict[str, str]:
    """For the summary of whoever loaded that model: its commit, and one digest of the files that were read.

    Nothing of a model that is a product of the sweep: its record has the digests.
    """
    digest = _digests_read.get(directory)
    return {**commit_read(directory), **({"model_digest": digest} if digest else {})}


def commit_read(directory: Path) -> dict[str, str]:
    """The commit of a hub model; nothing of others."""
    pointer = _pointer(directory)
    return {"model_commit": pointer["revision"]} if pointer and pointer["revision"] else {}


_digests_read: dict[Path, str] = {}  # by this process, of models that are no product; 12 hex digits


def _location(directory: Path, patterns: Sequence[str]) -> Location:
    pointer = _pointer(directory)
    if pointer is None:
        check_loadable(directory, "Run `python -m sweep store check`, then the sweep again", patterns)
        return Location(str(directory), None)
    if pointer["revision"] is None:
        folder = Path(pointer["model"])
        hashes = unchanged(folder, pointer.get("sha256"), patterns)
        remedy = "Save the model again"
    else:
        folder, hashes = verified_snapshot(pointer["model"], pointer["revision"], patterns)
        remedy = f"Remove {folder.parents[1]}. {FETCH}"
    if WEIGHTS in patterns:
        _digests_read[directory] = key_of(hashes)
    check_loadable(folder, remedy, patterns)
    return Location(str(folder), None)


def _pointer(directory: Path) -> dict[str, Any] | None:
    """What location.json says; None: the model is in the directory itself."""
    path = directory / POINTER
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def model_snapshot(repo: str, revision: str | None) -> Path:
    """The files of a hub model at its commit. Raises ConfigError if they cannot be had, or not whole."""
    folder = snapshot("model.repo", name_of(RepoKind.MODEL, repo, revision), HUB_FILES)
    _check_whole(folder, repo)
    return folder


def verified_snapshot(
    repo: str, revision: str | None, patterns: Sequence[str] = HUB_FILES
) -> tuple[Path, dict[str, str]]:
    """The same, and the hash of each file of these patterns, once all of them are what the hub has."""
    folder = model_snapshot(repo, revision)
    return folder, verified("model.repo", name_of(RepoKind.MODEL, repo, revision), folder, patterns)


def tokenizer_at(location: Location) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; no code from a repository is run. Raises ConfigError for one that loses text."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(location.model, revision=location.revision, trust_remote_code=False)
    check_keeps_words(tokenizer, location.model)
    return tokenizer


def check_keeps_words(tokenizer: Any, place: str) -> None:
    """Raises ConfigError for a tokenizer that gives back other words.

    transformers 5 rebuilds a tokenizer by the class that its tokenizer_config.json names: a byte-level one under
    `LlamaTokenizer` loses every space.
    """
    back = tokenizer.decode(tokenizer.encode(WORDS, add_special_tokens=False), skip_special_tokens=False)
    if back.casefold().split() == WORDS.casefold().split():  # what else it changes is found in the training text
        return
    raise ConfigError(
        f"model.repo {place!r}: its tokenizer, loaded as {type(tokenizer).__name__}, turns {WORDS!r} into {back!r}."
        f' If its tokenizer.json is a byte-level one, write "tokenizer_class": "PreTrainedTokenizerFast" into'
        f" {Path(place) / 'tokenizer_config.json'} (of a copy: model=own model.repo=DIR)."
    )


def materialise(work: Work[BaseModelConfig]) -> Summary:
    """Make the model, or find it and say where it is."""
    make = {
        ModelKind.FRESH: _fresh,
        ModelKind.GGUF: _gguf,
        ModelKind.HUB: _hub,
        ModelKind.DIRECTORY: _directory,
    }
    return make[work.config.kind](work)


# ------------------------------------------------------------------------------------------ made in place


def _fresh(work: Work[BaseModelConfig]) -> Summary:
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
        pad_token_id=cast(int | None, tokenizer.pad_token_id),  # the library gives every special attribute one type
        eos_token_id=cast(int | None, tokenizer.eos_token_id),
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def _gguf(work: Work[BaseModelConfig]) -> Summary:
    path = gguf_path(work.config.repo or "", work.config.file or "")
    if importlib.util.find_spec("gguf") is None:
        raise ConfigError("model.kind gguf: the package that reads such files is not installed. Run `make smollm`.")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _hide_progress_bars()
    folder, file = str(path.parent), path.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    check_keeps_words(tokenizer, folder)
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


def _hub(work: Work[BaseModelConfig]) -> Summary:
    repo, revision = work.config.repo or "", work.config.revision
    files = model_snapshot(repo, revision)
    return {**_point(work.out, Location(repo, revision), files), "commit": revision}


def _directory(work: Work[BaseModelConfig]) -> Summary:
    folder = work.inputs["files"][0].parent
    _check_whole(folder, str(folder))
    tokenizer_at(Location(str(folder), None))  # refused here, and not when it is trained or asked
    return _point(work.out, Location(str(folder), None), folder, hashes_of_model(folder, HUB_FILES))


def _point(out: Path, location: Location, files: Path, sha256: Mapping[str, str] | None = None) -> Summary:
    """Write down where the model is, and what it is where nobody else knows."""
    pointer = {**location._asdict(), **({"sha256": sha256} if sha256 else {})}
    (out / POINTER).write_text(json.dumps(pointer) + "\n", encoding="utf-8")
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
