"""Create the base model or locate it: a directory in Hugging Face layout, or a pointer to one too large to copy.

    fresh       a small Llama with seeded random weights; its tokenizer has one token per piece of the dial problems
    gguf        a GGUF file inside an installed Python package, dequantized to float32
    hub         location.json {"model": repository, "revision": commit}; the files stay in the hub's cache and are
                loaded from the snapshot directory of that commit
    directory   location.json {"model": path, "revision": null, "sha256": {file: hash}}

All loading goes through `model_location`, which checks the files against the hub's hashes or those of location.json.
Only safetensors are loaded, and no code from a repository is run.
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
SAMPLE_TEXT = "How many apples are 3 and 4?\nThink, then answer."
PAD, OPEN, CLOSE = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_PIECES = ("user", "assistant", "think", "answer", "Final", " Answer:")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A word, a mark or a whole number, each with its leading space. " Answer:" is one piece so that its last token is
# always followed by an answer, even where the thinking was cut.
PIECE = r" ?Answer:| ?[+@]?\d+| ?[A-Za-z]+| ?[^\sA-Za-z\d]|\s"


class Location(NamedTuple):
    """Arguments of `from_pretrained`: a path or a repository, and a repository's revision."""

    model: str
    revision: str | None


def model_location(directory: Path) -> Location:
    """The directory to load the model of a `base_model` or `checkpoint` output from.

    For a hub model, this is the snapshot of its commit, downloaded if missing. All files are hashed and verified.
    Raises ConfigError if the model is unavailable or damaged.
    """
    return _location(directory, HUB_FILES)


def tokenizer_location(directory: Path) -> Location:
    """Like `model_location`, but for loading only the tokenizer: the weights are not read."""
    return _location(directory, [pattern for pattern in HUB_FILES if pattern != WEIGHTS])


def model_read(directory: Path) -> dict[str, str]:
    """The commit and file digest of a loaded model, for the summary of the stage that loaded it.

    Empty for a model that the sweep made: its record has the digests.
    """
    digest = _digests_read.get(directory)
    return {**commit_read(directory), **({"model_digest": digest} if digest else {})}


def commit_read(directory: Path) -> dict[str, str]:
    """The commit of a hub model; empty for others."""
    pointer = _pointer(directory)
    return {"model_commit": pointer["revision"]} if pointer and pointer["revision"] else {}


_digests_read: dict[Path, str] = {}  # read by this process, for models outside the store; 12 hex digits


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
    """The content of location.json; None if the directory itself contains the model."""
    path = directory / POINTER
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def model_snapshot(repo: str, revision: str | None) -> Path:
    """The snapshot directory of a hub model at its commit. Raises ConfigError if unavailable or incomplete."""
    folder = snapshot("model.repo", name_of(RepoKind.MODEL, repo, revision), HUB_FILES)
    _check_complete(folder, repo)
    return folder


def verified_snapshot(
    repo: str, revision: str | None, patterns: Sequence[str] = HUB_FILES
) -> tuple[Path, dict[str, str]]:
    """The snapshot directory, and the hash of each file that matches the patterns, verified against the hub."""
    folder = model_snapshot(repo, revision)
    return folder, verified("model.repo", name_of(RepoKind.MODEL, repo, revision), folder, patterns)


def tokenizer_at(location: Location) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer, running no code from a repository. Raises ConfigError if it loses text."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(location.model, revision=location.revision, trust_remote_code=False)
    check_round_trip(tokenizer, location.model)
    return tokenizer


def check_round_trip(tokenizer: Any, place: str) -> None:
    """Raises ConfigError if encoding and decoding changes the words of a text.

    transformers 5 rebuilds a tokenizer from the class that its tokenizer_config.json names: a byte-level one declared
    as `LlamaTokenizer` loses every space.
    """
    back = tokenizer.decode(tokenizer.encode(SAMPLE_TEXT, add_special_tokens=False), skip_special_tokens=False)
    if back.casefold().split() == SAMPLE_TEXT.casefold().split():  # the audit of the training text finds other changes
        return
    raise ConfigError(
        f"model.repo {place!r}: the tokenizer {type(tokenizer).__name__} turns {SAMPLE_TEXT!r} into {back!r}."
        f' If its tokenizer.json is byte-level, set "tokenizer_class": "PreTrainedTokenizerFast" in'
        f" {Path(place) / 'tokenizer_config.json'} (of a copy: model=own model.repo=DIR)."
    )


def materialise(work: Work[BaseModelConfig]) -> Summary:
    """Create the model, or locate it and write a pointer."""
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
        raise ConfigError(
            "model.architecture null: a fresh model needs an architecture and a dial. Choose model=laptop."
        )
    _hide_progress_bars()
    tokenizer = piece_tokenizer((*CHAT_PIECES, *Family(config.dial).pieces()))
    return _save(random_model(config.architecture, tokenizer, config.seed), tokenizer, work.out)


def piece_tokenizer(pieces: tuple[str, ...]) -> PreTrainedTokenizerBase:
    """A tokenizer with one token per piece; all other text is encoded as bytes, so that nothing is lost."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import ByteLevel as ByteLevelDecoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
    from transformers import PreTrainedTokenizerFast

    in_bytes = ByteLevel(add_prefix_space=False, use_regex=False)
    spelled = ["".join(text for text, _ in in_bytes.pre_tokenize_str(piece)) for piece in pieces]
    entries = dict.fromkeys((PAD, OPEN, CLOSE, *sorted(ByteLevel.alphabet()), *spelled))
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    # ignore_merges looks up a whole piece directly; without merges, all other text splits into bytes.
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
    """A Llama with tied embeddings and weights that depend only on the seed.

    Not a Qwen2: transformers replaces the tokenizer of any model of type qwen2 with Qwen's, which splits numbers.
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
        pad_token_id=cast(int | None, tokenizer.pad_token_id),  # all special tokens share one wide type
        eos_token_id=cast(int | None, tokenizer.eos_token_id),
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def _gguf(work: Work[BaseModelConfig]) -> Summary:
    path = gguf_path(work.config.repo or "", work.config.file or "")
    if importlib.util.find_spec("gguf") is None:
        raise ConfigError("model.kind gguf: the package `gguf` is not installed. Run `make smollm`.")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _hide_progress_bars()
    folder, file = str(path.parent), path.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    check_round_trip(tokenizer, folder)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    return _save(model, tokenizer, work.out)


def gguf_path(package: str, file: str) -> Path:
    """The path of a file in a package, found without importing it, so that none of its code runs.

    Dotted names are refused: to find a subpackage, Python imports its parent.
    """
    if not package.isidentifier():
        raise ConfigError(
            f"model.repo {package!r}: not the name of a top-level package. Write it without dots or slashes."
        )
    folder = _package_folder(package)
    if folder is None:
        raise ConfigError(f"model.repo {package!r}: no such package is installed. Run `make smollm`.")
    if not file or Path(file).name != file or "\\" in file:
        raise ConfigError(f"model.file {file!r}: not a file name. Name a GGUF file of the package, without folders.")
    if not (folder / file).is_file():
        there = ", ".join(sorted(path.name for path in folder.glob("*.gguf"))) or "none"
        raise ConfigError(f"model.file {file!r}: not in {folder}. GGUF files there: {there}.")
    return folder / file


def _package_folder(package: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # already imported, and without a spec
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
    _check_complete(folder, str(folder))
    tokenizer_at(Location(str(folder), None))  # refuse a bad tokenizer here, before training or generation
    return _point(work.out, Location(str(folder), None), folder, hashes_of_model(folder, HUB_FILES))


def _point(out: Path, location: Location, files: Path, sha256: Mapping[str, str] | None = None) -> Summary:
    """Write the pointer file; with hashes, unless the hub has them."""
    pointer = {**location._asdict(), **({"sha256": sha256} if sha256 else {})}
    (out / POINTER).write_text(json.dumps(pointer) + "\n", encoding="utf-8")
    return {"bytes": sum(path.stat().st_size for path in files.glob("*.safetensors"))}


def _check_complete(files: Path, model: str) -> None:
    """Raises ConfigError if the configuration, the tokenizer or any weights are missing."""
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
        raise ConfigError(
            f"model.repo {model!r}: {index} lists no weights. Download or save the model again."
        ) from None
    if missing := [name for name in named if not (files / name).is_file()]:
        raise ConfigError(
            f"model.repo {model!r}: {len(missing)} of {len(named)} weight files are missing in {files}:"
            f" {missing[0]}. Download or save the model again."
        )
