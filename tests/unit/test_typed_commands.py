"""Every command that a comment or docstring shows plans as it is typed, offline and unpinned."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from s1 import pipeline
from sweep.config.compose import compose
from sweep.core.provenance import PROJECT

COMMAND = re.compile(r"^[#\s]*(?:python -m sweep) (?P<line>(?:[^\n]*\\\n)*[^\n]*)", re.MULTILINE)
PLACES = [
    *PROJECT.glob("conf/**/*.yaml"),
    *PROJECT.glob("s1/**/*.py"),
    *PROJECT.glob("sweep/**/*.py"),
]
PATTERNS = ("task.name=NAME", "+experiment=NAME")  # the name is the reader's own
POOL_ROW = '{"question": "1+1?", "solution": "2", "thinking": "2.", "attempt": "2"}\n'
TASK_ROW = '{"id": "1", "problem": "1+1?", "answer": "2"}\n'
TASK = """task: mytask
output_type: generate_until
doc_to_text: "{{problem}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: exact_match}]
"""


def commands() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where each stands, and its words; sub-commands and patterns with dots for the rest are left out."""
    for path in PLACES:
        if path.parent.name == "paper":  # tests/unit/test_paper_experiments.py and tests/integration/test_paper_runs.py
            continue
        for found in COMMAND.finditer(path.read_text(encoding="utf-8")):
            line = re.sub(r"\s*\\\n[#\s]*", " ", found["line"])
            words = tuple(shlex.split(re.split(r"\s{2,}", line)[0], comments=True))  # behind it: what it is for
            if words and "=" in words[0] and not {"...", "|", *PATTERNS} & {*words}:
                yield str(path.relative_to(PROJECT)), words


ALL = sorted(set(commands()))


def test_experiments_models_and_modules_show_commands() -> None:
    places = {place for place, _ in ALL}
    assert {"conf/experiment/data_ablation.yaml", "conf/model/own.yaml"} <= places
    assert len(ALL) > 10


@pytest.mark.parametrize(("place", "words"), ALL, ids=[f"{place}: {' '.join(words)}" for place, words in ALL])
def test_a_command_that_is_shown_plans_as_it_is_typed(
    place: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_model: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENROUTER_API_KEY", "")
    for name in ("POOL.jsonl", "ROWS.jsonl", "questions.jsonl"):
        Path(name).write_text(POOL_ROW, encoding="utf-8")
    Path("rows.jsonl").write_text(TASK_ROW, encoding="utf-8")
    Path("tasks").mkdir()
    Path("tasks", "mytask.yaml").write_text(TASK, encoding="utf-8")
    Path("DIR").mkdir()
    for name in ("rows", "aime24", "aime25", "math500"):
        Path("DIR", f"{name}.jsonl").write_text(TASK_ROW, encoding="utf-8")
    words = tuple(
        word.replace("model.repo=DIR", f"model.repo={own_model}").replace(
            "model.thinking_format=NAME", "model.thinking_format=s1"
        )
        for word in words
    )
    composition = compose(words)
    graph = pipeline.graph(composition.points, composition.request)
    assert graph.points == len(composition.points) >= 1


@pytest.fixture(scope="session")
def own_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in Hugging Face layout."""
    from s1.config.schema import Architecture, Dial
    from s1.dial import Family
    from s1.models.location import CHAT_PIECES, piece_tokenizer, random_model

    folder = tmp_path_factory.mktemp("own")
    tokenizer = piece_tokenizer((*CHAT_PIECES, *Family(Dial()).pieces()))
    random_model(Architecture(16, 1, 2, 16, 1000.0, 0.1), tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
