"""Identity of an lm-eval task's YAML file, in two parts: prompts and references ("wording"), and scoring.

    scoring   the fields in SCORING: how answers are filtered, graded and averaged
    wording   everything else: where rows come from, how they become prompts and references, few-shot examples

An unknown field counts as wording: at worst too much is generated again, never too little. `generation_kwargs`,
`max_gen_toks` and `until` would configure lm-eval's engine, but here lm-eval only replays our answers. They count as
scoring, which takes seconds.

`include:` is resolved as lm-eval does. A `!function` is identified by its dotted name and, if it is defined in a Python
file next to the YAML, by the digest of the source it reaches. Files named in `dataset_kwargs` count by their content.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s1.config.schema import ConfigError
from s1.evaluate.task_files import TASKS, TaskFunction, read_task, task_file
from sweep.core.identity import Json
from sweep.core.stage import FileInput
from sweep.source.digest import SourceError, digest_of_source, source_of

SCORING = (
    *("process_results", "filter_list", "metric_list", "repeats", "generation_kwargs", "should_decontaminate"),
    *("doc_to_decontamination_query", "task_alias", "tag", "group", "version"),
)
FUNCTION = "!function"
PROJECT_PACKAGE = __name__.partition(".")[0]


def wording(name: str, path: Path | None = None) -> dict[str, Json]:
    """Fields that decide a task's prompts and references. `path`: its YAML; None: look it up by name.

    Raises ConfigError for a file that cannot be read.
    """
    path = path or task_file(name)
    fields = _fields(name, path)
    metadata = {key: value for key, value in (fields.get("metadata") or {}).items() if key != "version"}
    kept = {field: value for field, value in fields.items() if field not in (*SCORING, "metadata")}
    return _identity({**kept, **({"metadata": metadata} if metadata else {})}, path.parent)


def scoring(name: str, path: Path | None = None) -> dict[str, Json]:
    """Fields that decide the scores of given answers. Raises ConfigError like `wording`."""
    path = path or task_file(name)
    fields = _fields(name, path)
    version = (fields.get("metadata") or {}).get("version")
    kept = {field: fields[field] for field in SCORING if field in fields}
    return _identity({**kept, **({"version": version} if version is not None else {})}, path.parent)


def require_planned(name: str, planned: Mapping[str, Json], found: Mapping[str, Json]) -> None:
    """Raise ConfigError in a worker if the task's file has changed since it was planned."""
    fields = sorted(field for field in {**planned, **found} if not _is_same(planned.get(field), found.get(field)))
    if planned and fields:
        raise ConfigError(f"task {name} {', '.join(fields)}: changed after the sweep was planned. Run the sweep again.")


def _is_same(planned: Json, found: Json) -> bool:
    """Compare values; a planned file equals its name alone.

    A worker runs in another directory and does not find the file by name, but has its content as an input.
    """
    if isinstance(planned, dict) and set(planned) == {"file", "content"} and found == planned["file"]:
        return True
    if isinstance(planned, dict) and isinstance(found, dict):
        return set(planned) == set(found) and all(_is_same(planned[name], found[name]) for name in planned)
    if isinstance(planned, list) and isinstance(found, list):
        return len(planned) == len(found) and all(map(_is_same, planned, found))
    return planned == found


def code_roots(content: Mapping[str, Json]) -> tuple[str, ...]:
    """Functions of this project named in a wording or scoring, as `module:name`."""
    named = (each[FUNCTION] for each in _functions(dict(content)) if "source" not in each)
    dotted = (str(each).rpartition(".") for each in named)
    return tuple(sorted({f"{module}:{name}" for module, _, name in dotted if _is_of_project(module)}))


def own_file(name: str) -> str | None:
    """Path of a user's task, which a worker cannot find by name; None for a shipped task."""
    path = task_file(name).resolve()
    return None if path.parent == TASKS else str(path)


def _is_of_project(module: str) -> bool:
    return module.partition(".")[0] == PROJECT_PACKAGE


def _fields(name: str, path: Path) -> Mapping[str, Any]:
    return read_task(name, path).fields


def _identity(fields: Mapping[str, Any], folder: Path) -> dict[str, Json]:
    return {name: _value(value, folder, name == "dataset_kwargs") for name, value in sorted(fields.items())}


def _value(value: Any, folder: Path, names_files: bool) -> Json:
    if isinstance(value, TaskFunction):
        return _function(value.name, folder)
    if isinstance(value, dict):
        return {str(name): _value(each, folder, names_files) for name, each in value.items()}
    if isinstance(value, list):
        return [_value(each, folder, names_files) for each in value]
    if names_files and isinstance(value, str) and (path := _file(value, folder)):
        return {"file": value, "content": FileInput.of(path).key}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)  # YAML parses some strings as dates


def _file(name: str, folder: Path) -> Path | None:
    return next((path for path in (Path(name), folder / name) if path.is_file()), None)


def _function(dotted: str, folder: Path) -> dict[str, Json]:
    """Identify a function of a file next to the YAML, which lm-eval prefers, or of an installed module."""
    module, _, name = dotted.rpartition(".")
    if not module or not (folder / f"{module.replace('.', '/')}.py").is_file():
        return {FUNCTION: dotted}
    try:
        files = source_of((f"{module}:{name}",), home=folder.resolve(), packages=(PROJECT_PACKAGE,))
    except SourceError:
        raise ConfigError(f"!function {dotted}: not in {folder}. Correct its name in the task file.") from None
    return {FUNCTION: dotted, "source": digest_of_source(files)}


def _functions(value: Json) -> Iterator[Mapping[str, Json]]:
    if isinstance(value, dict):
        if FUNCTION in value:
            yield value
        for each in value.values():
            yield from _functions(each)
    elif isinstance(value, list):
        for each in value:
            yield from _functions(each)
