"""The worked examples of docs/extending.md, followed word for word in a copy of the project."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
COPIED = (
    "conf",
    "docs",
    "s1",
    "slurm",
    "sweep",
    "tests/conftest.py",
    "tests/support",
    "tests/unit/s1",
    "pyproject.toml",
)
FILE = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```', re.MULTILINE | re.DOTALL)
INSERTED = re.compile(r"^<!-- test: insert into (\S+) below (.+?) -->\n+```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with every file and every line that the page adds."""
    project = tmp_path_factory.mktemp("extended")
    for name in COPIED:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copy(PROJECT / name, project / name)
    page = (PROJECT / "docs" / "extending.md").read_text(encoding="utf-8")
    for name, text in FILE.findall(page):
        assert not (project / name).exists(), f"{name} is part of the project already"
        (project / name).write_text(text, encoding="utf-8")
    for name, below, text in INSERTED.findall(page):
        insert(project / name, below, text)
    return project


def insert(file: Path, below: str, text: str) -> None:
    """Below the only line that begins with `below`, or below the docstring that follows it."""
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    (place,) = (number for number, line in enumerate(lines, start=1) if line.strip().startswith(below))
    place += lines[place].strip().startswith('"""')
    file.write_text("".join([*lines[:place], text, *lines[place:]]), encoding="utf-8")


COMMANDS = {
    "model": "sweep plan model=qwen3_4b data=none task=aime24 machine=h100 cost=h100",
    "task": "sweep plan task=hmmt25 task.data_file=hmmt25.jsonl data=dial_1k",
    "method": "sweep plan +experiment=smoke budget=whole_lines budget.max_thinking_tokens=8,16 also=[] -m",
    "engine": "sweep plan +experiment=smoke engine=transformers,plain also=[] -m",
    "tests of the method": "pytest -q tests/unit/s1/test_whole_lines.py tests/unit/s1/test_methods.py",
    "tests of the engine": "pytest -q tests/unit/s1/test_engine_contract.py -k 'plain and not cache'",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_of_the_page_works(extended: Path, name: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(extended), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", *shlex.split(COMMANDS[name])]
    ran = subprocess.run(command, cwd=extended, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
