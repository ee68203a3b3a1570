"""The doorway to lm-eval: our task files, and a model that only replays texts generated before.

lm-eval asks for S samples of a question by passing the same request S times, without an index: the replay counts.
"""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from s1.config import ConfigError

TASKS = Path(__file__).parent / "tasks"
FILTER = "samples"


class ReplayError(RuntimeError):
    """lm-eval asked for a text that was never generated."""


class Replay(LM):
    """Answers each prompt with its stored samples, in order."""

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self._texts = texts

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """One stored text per request. Raises ReplayError that names the prompt without one."""
        asked: Counter[str] = Counter()
        texts = []
        for request in requests:
            prompt = request.args[0]
            texts.append(self._text(prompt, asked[prompt]))
            asked[prompt] += 1
        return texts

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        raise ReplayError("loglikelihood: not stored. Only texts are replayed; use a generate_until task.")

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise ReplayError("loglikelihood_rolling: not stored. Only texts are replayed; use a generate_until task.")

    def _text(self, prompt: str, sample: int) -> str:
        texts = self._texts.get(prompt, ())
        if sample >= len(texts):
            raise ReplayError(f"prompt {prompt!r}: no answer is stored for sample {sample}. Generate it first.")
        return texts[sample]


def task_names() -> list[str]:
    """The tasks of s1/evaluate/tasks/."""
    return sorted(path.stem for path in TASKS.glob("[!_]*.yaml"))


def load_task(name: str, source: Mapping[str, Any]) -> ConfigurableTask:
    """The lm-eval task over the rows of `source`, the arguments of `rows.dataset`. Raises ConfigError if unknown."""
    if name not in task_names():
        raise ConfigError(f"task.name {name}: unknown. Choose one of {', '.join(task_names())}.")
    with _quiet():
        tasks = TaskManager(include_path=TASKS, include_defaults=False, metadata=dict(source))
        return tasks.load(name)["tasks"][name]


def requests_of(task: ConfigurableTask, limit: int | None) -> list[Instance]:
    """The requests of the first `limit` rows; `args[0]` is the prompt as the task words it, `doc` its row."""
    with _quiet():
        task.build_all_requests(limit=limit, rank=0, world_size=1)
    return task.instances


def evaluate(task: ConfigurableTask, texts: Mapping[str, Sequence[str]], samples: int) -> dict[str, Any]:
    """lm-eval's results for the stored texts of each prompt, `samples` of them."""
    task.set_config("repeats", samples)
    with _quiet():
        return lm_eval.evaluate(Replay(texts), {"tasks": {task.task_name: task}})


@contextmanager
def _quiet() -> Iterator[None]:
    """lm-eval without its warnings about custom datasets and its progress bars, which have no switch."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
