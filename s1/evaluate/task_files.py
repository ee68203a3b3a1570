"""Where the YAML file of a task is: in `tasks/` of the current directory, or shipped in s1/evaluate/tasks/."""

from __future__ import annotations

from difflib import SequenceMatcher
from pathlib import Path

from s1.config import ConfigError

OWN = Path("tasks")  # a user's, where a command is typed
TASKS = Path(__file__).parent / "tasks"


def task_names() -> list[str]:
    """The tasks of both folders."""
    return sorted({*_files(OWN), *_files(TASKS)})


def task_file(name: str) -> Path:
    """The YAML file of a task. Raises ConfigError for a name that no folder has, or both."""
    own, shipped = _files(OWN).get(name), _files(TASKS).get(name)
    if own and shipped and not own.samefile(shipped):
        raise ConfigError(f"task.name {name!r}: {own} has the name of a shipped task. Rename the file.")
    if own or shipped:
        return own or shipped
    known = sorted(task_names(), key=lambda each: -SequenceMatcher(None, name, each).ratio())
    raise ConfigError(f"task.name {name!r}: no such task. Known: {', '.join(known)}. Your own goes into {OWN}/.")


def _files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("[!_.]*.yaml"))}
