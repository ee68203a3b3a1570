"""Models and rows on this machine are read while planning; what a worker could not use is refused by name."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from s1 import pipeline
from s1.config.schema import Architecture, ConfigError, Dial
from s1.dial import Family
from s1.models.location import CHAT_PIECES, Location, piece_tokenizer, random_model, tokenizer_at
from s1.point import PointConfig
from sweep.config.compose import compose
from sweep.core.pipeline import Graph
from sweep.errors import InputError

THINKING_FORMAT = "thinking_format@model.thinking_format=s1"


def graph_of(*overrides: str) -> Graph:
    composition = compose(list(overrides))
    return pipeline.graph(composition.points, composition.request)


def complaint_of(*overrides: str) -> str:
    with pytest.raises(InputError) as refused:
        graph_of(*overrides)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# ------------------------------------------------------------------------------------------------------- models


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    tokenizer = piece_tokenizer((*CHAT_PIECES, *Family(Dial()).pieces()))
    random_model(Architecture(16, 1, 2, 16, 1000.0, 0.1), tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def own(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "own"))


def own_point(folder: Path, *overrides: str) -> PointConfig:
    (x,) = compose(["model=own", f"model.repo={folder}", THINKING_FORMAT, "data=none", *overrides]).points
    return x


def test_a_local_model_gets_context_and_sizes_from_its_files(own: Path) -> None:
    model = own_point(own).model
    config = json.loads((own / "config.json").read_text(encoding="utf-8"))
    assert model.context_tokens == config["max_position_embeddings"] == 2048
    assert model.shape is not None
    assert (model.shape.layers, model.shape.hidden_size, model.shape.vocabulary) == (1, 16, config["vocab_size"])
    assert model.shape.parameters > model.shape.vocabulary * 16
    assert own_point(own, "model.context_tokens=512").model.context_tokens == 512


def test_missing_fields_of_a_local_model_are_named_with_the_override_to_add(own: Path) -> None:
    assert (
        "thinking_format@model.thinking_format: missing."
        " Add thinking_format@model.thinking_format=OPTION, one of plain, r1, s1,"
        in complaint_of("model=own", f"model.repo={own}")
    )
    assert complaint_of("model=own", THINKING_FORMAT).startswith("model.repo: missing. Add model.repo=VALUE.")
    assert "model.kind directory: model=laptop creates its own weights" in complaint_of(
        "model.kind=directory", f"model.repo={own}"
    )
    assert "Choose model=own model.repo=DIR" in complaint_of("model.kind=directory", f"model.repo={own}")


def edit(folder: Path, name: str, **changes: object) -> None:
    path = folder / name
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")


def cut(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (shutil.rmtree, "own': no such directory"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json there"),
        (lambda folder: cut(folder, "config.json"), "config.json: not JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "config.json: not a JSON object"),
        (lambda folder: cut(folder, "model.safetensors"), "model.safetensors: incomplete or damaged weights"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b""),
            "model.safetensors: incomplete or damaged weights",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "no *.safetensors weights there"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "has no chat template. Put a chat_template.jinja"),
        (
            lambda folder: edit(folder, "config.json", max_position_embeddings=None),
            "has no max_position_embeddings. Add model.context_tokens=NUMBER",
        ),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_before_anything_runs(
    own: Path, harm: Callable[[Path], object], complaint: str
) -> None:
    harm(own)
    assert complaint in complaint_of("model=own", f"model.repo={own}", THINKING_FORMAT, "data=none")


def test_a_configured_prompt_needs_no_chat_template(own: Path) -> None:
    (own / "chat_template.jinja").unlink()
    assert (
        own_point(own, "model.thinking_format.prompt='Q: {question}'").model.thinking_format.prompt == "Q: {question}"
    )


def test_a_tokenizer_that_loses_spaces_is_refused_with_the_fix_and_the_fix_works(own: Path) -> None:
    edit(own, "tokenizer_config.json", tokenizer_class="LlamaTokenizer")
    with pytest.raises(ConfigError, match=r"into 'Howmanyapplesare3.*\"PreTrainedTokenizerFast\" in .*config\.json"):
        tokenizer_at(Location(str(own), None))
    edit(own, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    tokenizer = tokenizer_at(Location(str(own), None))
    text = "How many apples?  Two  spaces,\n\nand lines."
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


# --------------------------------------------------------------------------------------------------------- rows

TASK_ROW = b'{"id": "1", "problem": "1+1?", "answer": "2"}\n'
OTHER_ROW = b'{"id": "2", "problem": "1+2?", "answer": "3"}\n'
POOL_ROW = b'{"question": "1+1?", "solution": "2", "thinking": "2.", "attempt": "2"}\n'


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (TASK_ROW + OTHER_ROW.replace(b'"2"', b'"1"', 1), "line 2: id '1' is also the id of "),
        (TASK_ROW + b'{"id": "caf\xe9", "problem": "?", "answer": "1"}\n', "line 2: byte 0xe9 is not UTF-8"),
        (TASK_ROW + b'{"id": "2", "problem": "1+2?"}\n', "line 2 column 'answer': missing, empty or not text"),
        (TASK_ROW + b"{\n", "line 2: not JSON"),
        (gzip.compress(TASK_ROW), "compressed. Unpack it: gzip -d."),
        (TASK_ROW.decode().encode("utf-16"), "UTF-16, not UTF-8"),
        (b"", "no rows"),
        (b"\n\n", "no rows"),
    ],
    ids=["same id", "latin-1", "no answer", "torn", "compressed", "utf-16", "empty", "blank lines"],
)
def test_rows_of_a_task_that_no_worker_could_read_are_refused_while_planning(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    assert complaint in complaint_of("task=math500", f"task.data_file={file}")


@pytest.mark.parametrize(
    "content",
    [
        TASK_ROW + OTHER_ROW,
        TASK_ROW + OTHER_ROW[:-1],
        TASK_ROW + OTHER_ROW + b"\n",
        (TASK_ROW + OTHER_ROW).replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + TASK_ROW + OTHER_ROW,
    ],
    ids=["plain", "no last newline", "blank last line", "windows", "byte order mark"],
)
def test_usual_variants_of_json_lines_are_accepted(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content)
    assert graph_of("task=math500", f"task.data_file={file}").points == 1


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("rows.jsonl", POOL_ROW + b"{\n", "line 2: not JSON"),
        ("rows.jsonl", b"", "no rows"),
        ("rows.jsonl", POOL_ROW.replace(b"question", b"problem"), "data.pool.columns 'question': no such column"),
        ("rows.parquet", POOL_ROW, "not a complete parquet file"),
        ("rows.parquet", b"PAR1" + POOL_ROW, "not a complete parquet file"),
        ("rows.parquet", b"", "not a complete parquet file"),
    ],
)
def test_a_pool_that_no_worker_could_read_is_refused_while_planning(
    tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert complaint in complaint_of("data=file", f"data.pool.file={tmp_path / name}", "goal=data")


# ------------------------------------------------------------------------------------------- errors of Hydra


@pytest.mark.parametrize(
    ("typed", "fix"),
    [
        ("task.data_file=~/x.jsonl", 'task.data_file="~/x.jsonl"'),
        ("model.thinking_format.answer_stops=[<|im_end|>]", 'model.thinking_format.answer_stops=["<|im_end|>"]'),
        (
            "model.thinking_format.answer_stops=[<|im_end|>, </s>]",
            'model.thinking_format.answer_stops=["<|im_end|>", "</s>"]',
        ),
    ],
)
def test_an_unquoted_special_character_is_refused_with_the_correctly_quoted_override(typed: str, fix: str) -> None:
    with pytest.raises(InputError) as refused:
        compose([typed])
    assert f"Write '{fix}'." in str(refused.value)
    if "data_file" not in fix:
        (x,) = compose([fix]).points
        assert x.model.thinking_format.answer_stops[0] == "<|im_end|>"


# -------------------------------------------------------------------------------------------------- sizes in the plan


def notes_of(*overrides: str) -> list[str]:
    return [line for line in graph_of(*overrides).notes if line.startswith(("budget.", "machine:"))]


def test_laptop_sized_budgets_are_noted_for_larger_models() -> None:
    (line,) = notes_of("+experiment=budget_scan", "model=qwen2_5_32b", "data=none", "-m")
    assert line.startswith("budget.max_thinking_tokens 8 to 40: such budgets suit the laptop model, but qwen2_5_32b")
    assert "Choose +experiment=s1_scan, with budgets of 512 to 16,384 tokens." in line
    assert notes_of("+experiment=s1_scan", "model=qwen2_5_32b", "task=aime24", "-m") == []
    assert notes_of("+experiment=budget_scan", "-m") == []


def test_a_machine_far_larger_than_the_model_is_noted() -> None:
    (line,) = notes_of("machine=h100x16", "train=s1")
    assert line.startswith("machine: 16 devices of 80 GiB, but laptop trains in 0.0022 GiB. Choose machine=cpu")
    assert notes_of("machine=h100", "model=qwen2_5_7b", "data=none") == []
    assert notes_of() == []
