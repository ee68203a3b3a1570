"""Find, read and check the YAML file of an lm-eval task, in ./tasks/ or s1/evaluate/tasks/.

Unsupported fields are refused before anything runs. To add your own task:

1. Write `tasks/mytask.yaml` in the directory where you run the command. Two lines are enough; every field of
   `output_type: generate_until` works as in lm-eval (templates, columns, functions of a Python file next to it,
   `include`, `description`, few-shot examples, `process_docs`, `doc_to_choice`, filters, `exact_match` and its options,
   `process_results`):

       doc_to_text: "Solve: {{problem}}"
       doc_to_target: answer

   To use our graders, add one of integer_results, math_results, letter_results; doc_to_target gives the reference:

       process_results: !function s1.evaluate.graders.math_results

2. Give its rows: JSON lines with any columns (`task.data_file`), a pinned hub dataset (`task.hub`), or in the YAML
   `dataset_path: json` (csv, parquet, text) with `dataset_kwargs: {data_files: ...}`.
3. Run it:

       python -m sweep task=own task.name=mytask task.data_file=rows.jsonl

Each sample is graded separately by the first filter and the first metric, which must be 0 or 1 for one answer and
averaged over answers; lm-eval's other numbers are in lm_eval.json. `until` ends the answer, never the thinking, and is
applied before grading. Temperature and lengths come from `generate` and `budget` of the sweep, not from the YAML.

This module neither imports lm-eval nor runs code of the task, because planning uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from s1.config.schema import ConfigError
from sweep.places import expanded

OWN = Path("tasks")  # the user's tasks, in the current directory
TASKS = Path(__file__).parent / "tasks"


def task_names() -> list[str]:
    """Names of the tasks in both folders."""
    return sorted({*_files(OWN), *_files(TASKS)})


def task_file(name: str) -> Path:
    """The YAML file of a task. Raises ConfigError if neither folder has the name, or both have it."""
    own, shipped = _files(OWN).get(name), _files(TASKS).get(name)
    if own and shipped and not own.samefile(shipped):
        raise ConfigError(f"task.name {name!r}: {own} has the name of a shipped task. Rename the file.")
    if found := own or shipped:
        return found
    known = sorted(task_names(), key=lambda each: -SequenceMatcher(None, name, each).ratio())
    raise ConfigError(f"task.name {name!r}: no such task. Known: {', '.join(known)}. Put your own into {OWN}/.")


def _files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("[!_.]*.yaml"))}


LOCAL_BUILDERS = ("json", "csv", "parquet", "text")  # builders of `datasets` that read named files
OUR_ROWS = "s1.evaluate.rows.dataset"
MEANS = ("mean", "nanmean")
CHAT = "the model's thinking format renders the chat. Remove it; see model.thinking_format"
REFUSED = {
    "group": "a group has no questions. Name one of its tasks",
    "task_list": "defines several tasks in one file. Write a file for each",
    "class": "Python tasks are not supported. Write a YAML task",
    "use_prompt": "promptsource is not supported. Write doc_to_text",
    "doc_to_image": "images are not supported. Choose a text task",
    "doc_to_audio": "audio is not supported. Choose a text task",
    "unsafe_code": "would run answers as code. Choose another grader",
    "gen_prefix": "would start the answer before the thinking. Move it into doc_to_text",
    "system_instruction": CHAT,
    "apply_chat_template": CHAT,
    "fewshot_as_multiturn": CHAT,
}


@dataclass(frozen=True)
class TaskFunction:
    """An unloaded `!function` of a YAML file."""

    name: str  # "module.function"


@dataclass(frozen=True)
class TaskFile:
    """A task's YAML merged with its includes."""

    name: str
    path: Path
    fields: Mapping[str, Any]
    files: tuple[
        Path, ...
    ]  # the YAML, its includes and the Python files next to them: everything that defines the task

    @property
    def stops(self) -> tuple[str, ...]:
        """Strings that end an answer; none if the YAML has none, where lm-eval would stop at a blank line."""
        until = (self.fields.get("generation_kwargs") or {}).get("until") or ()
        return (until,) if isinstance(until, str) else tuple(until)

    @property
    def local_builder(self) -> bool:
        """Whether the YAML itself names local files that hold the rows."""
        return not self.fields.get("custom_dataset") and self.fields.get("dataset_path") in LOCAL_BUILDERS

    @property
    def needs_rows(self) -> bool:
        """Whether the configuration must name its rows, because the YAML does not."""
        custom = self.fields.get("custom_dataset")
        return custom == TaskFunction(OUR_ROWS) if custom else not self.local_builder

    @property
    def splits(self) -> tuple[str, str | None]:
        """Splits of the questions and of the few-shot examples (None: no examples).

        Follows lm-eval's rules, except that a question is never its own example.
        """
        fields = self.fields
        first = next((split for split, _ in self.files_named()), "test")
        test = fields.get("test_split") or fields.get("validation_split") or first
        shots = fields.get("fewshot_config") or {}
        if not fields.get("num_fewshot") or shots.get("samples"):
            return test, None
        named = (shots.get("split"), *(fields.get(f"{name}_split") for name in ("fewshot", "training", "validation")))
        return test, next(filter(None, named), test)

    def files_named(self) -> list[tuple[str, str]]:
        """(split, file name) for each local file of rows that the YAML names."""
        if not self.local_builder:
            return []
        named = (self.fields.get("dataset_kwargs") or {}).get("data_files")
        splits = named if isinstance(named, Mapping) else {"train": named}  # default split of `datasets`
        return [(split, str(each)) for split, names in splits.items() for each in _listed(names)]

    def data_files(self) -> list[Path]:
        """The files of `files_named`, looked up in the current directory, then next to the YAML. Raises ConfigError."""
        named = self.files_named()
        if self.local_builder and not named:
            raise self.refusal("dataset_kwargs.data_files", None, "names no rows. Name a file for each split")
        return [self._data_file(name) for _, name in named]

    def refusal(self, field: str, value: object, why: str) -> ConfigError:
        """Build the error about a field. `why` is the problem and the remedy."""
        return ConfigError(f"task {self.name} {field} {_shown(value)}: {why}.")

    def _data_file(self, name: str) -> Path:
        for path in (expanded("dataset_kwargs.data_files", name), self.path.parent / name):
            if path.is_file():
                return path
        raise self.refusal("dataset_kwargs.data_files", name, "no such file. Give the path of an existing file")


def read_task(name: str, path: Path) -> TaskFile:
    """Read and check a task file. Raises ConfigError if it is not YAML or has unsupported fields."""
    path = path.resolve()  # like lm-eval: files next to a symlink are not next to its target
    fields, files = _merged(path, ())
    task = TaskFile(name, path, fields, tuple(dict.fromkeys(files)))
    for refused in (_shapes_refused, _fields_refused, _samples_refused, _metrics_refused):
        for fault in refused(task):
            raise fault
    return task


def check_rows(task: TaskFile, rows: str | None) -> None:
    """Raise ConfigError unless the rows are given by a config field (`rows`: its name) or, for None, by the YAML."""
    if rows is None and task.needs_rows:
        repo = task.fields.get("dataset_path")
        what = f" (its dataset_path {repo} is not pinned: give it as task.hub)" if repo else ""
        raise ConfigError(
            f"task.data_file null: task {task.name} has no rows{what}. Set it to a JSON-lines file, or set task.hub."
        )
    test, examples = task.splits
    if rows == "task.data_file" and examples not in (None, test) and not task.fields.get("custom_dataset"):
        why = f"{rows} only has the rows of {test}. Give fewshot_config.samples, or dataset_kwargs.data_files of both"
        raise task.refusal("fewshot_split", examples, why)


def remarks(task: TaskFile) -> list[str]:
    """List the settings in a task's YAML that have no effect, one line each."""
    kwargs = task.fields.get("generation_kwargs") or {}
    ignored = sorted(name for name in kwargs if name != "until")
    lines = [f"generation_kwargs {', '.join(ignored)}: ignored, generate and budget decide"] if ignored else []
    filters = [each.get("name") for each in task.fields.get("filter_list") or ()]
    if len(filters) > 1:
        lines.append(f"filter_list: {filters[0]} grades; {', '.join(map(str, filters[1:]))} is only in lm_eval.json")
    return [f"task {task.name} {line}" for line in lines]


# ------------------------------------------------------------------------------------------------- reading


def _merged(path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], list[Path]]:
    """Merge a YAML with its includes, which it overrides, as lm-eval does; returns the fields and all files."""
    if path.resolve() in above:
        raise ConfigError(f"{path} include: includes itself. Remove the circular include.")
    own = _parsed(path)
    fields: dict[str, Any] = {}
    files, modules = [path], list(_python_files(path, own))
    for name in _listed(own.pop("include", None)):
        included, more = _merged(path.parent / str(name), (*above, path.resolve()))
        fields.update(included)
        files += more
    return {**fields, **own}, [*files, *modules]


def _parsed(path: Path) -> dict[str, Any]:
    try:
        state = path.stat()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file. Correct the `include` that names it.") from None
    return dict(_parsed_state(path, state.st_mtime_ns, state.st_size))


@cache
def _parsed_state(path: Path, modified_ns: int, size_bytes: int) -> dict[str, Any]:
    """Cached for each state of the file, because every point of a sweep reads it."""
    del modified_ns, size_bytes
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())}). Correct it.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: has no fields. Write at least doc_to_text and doc_to_target.")
    return content


class _Loader(yaml.SafeLoader):
    """Loader that does not import the functions of `!function`."""


def _function(loader: yaml.SafeLoader, node: yaml.Node) -> TaskFunction:
    return TaskFunction(str(loader.construct_scalar(cast(yaml.ScalarNode, node))))  # raises for other nodes


_Loader.add_constructor("!function", _function)


def _python_files(path: Path, value: object) -> Iterator[Path]:
    """Yield the Python files next to a YAML that define its functions."""
    if isinstance(value, TaskFunction):
        module = path.parent / f"{value.name.rpartition('.')[0].replace('.', '/')}.py"
        if module.is_file():
            yield module
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _python_files(path, each)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _shown(value: object) -> str:
    return value.name if isinstance(value, TaskFunction) else "null" if value is None else repr(value)


# ------------------------------------------------------------------------------------------------ refusing


def _shapes_refused(task: TaskFile) -> Iterator[ConfigError]:
    """Refuse fields with the wrong type."""
    for field in ("generation_kwargs", "dataset_kwargs", "fewshot_config"):
        value = task.fields.get(field) or {}
        if not isinstance(value, Mapping):
            yield task.refusal(field, value, "not a mapping. Write it as name: value")
            return
    metrics, filters = (task.fields.get(field) or [] for field in ("metric_list", "filter_list"))
    if not _are_mappings(metrics):
        yield task.refusal("metric_list", metrics, "not a list of mappings. Write - metric: exact_match")
    if not _are_mappings(filters) or not all(_are_mappings(each.get("filter")) for each in filters):
        yield task.refusal(
            "filter_list", filters, "not a list of mappings. Write - name: ..., filter: [{function: ...}]"
        )
    until = (task.fields.get("generation_kwargs") or {}).get("until") or []
    if not all(isinstance(stop, str) and stop for stop in _listed(until)):
        yield task.refusal("generation_kwargs.until", until, "not a list of non-empty strings. Remove the empty one")


def _are_mappings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)


def _fields_refused(task: TaskFile) -> Iterator[ConfigError]:
    fields = task.fields
    for field, why in REFUSED.items():
        if fields.get(field):
            yield task.refusal(field, fields[field], why)
    if not isinstance(fields.get("task", ""), str):
        yield task.refusal("task", fields["task"], REFUSED["task_list"])
    output_type = fields.get("output_type", "generate_until")
    if output_type != "generate_until":
        yield task.refusal("output_type", output_type, "only text generation is supported. Use generate_until")
    for field in ("doc_to_text", "doc_to_target"):
        if fields.get(field) is None:
            yield task.refusal(field, None, "missing. Name a column, a template or a function")


def _samples_refused(task: TaskFile) -> Iterator[ConfigError]:
    """Refuse fields that combine samples of a question, because each sample is graded separately."""
    if task.fields.get("repeats", 1) != 1:
        yield task.refusal(
            "repeats", task.fields["repeats"], "the sweep sets the number of samples. Set generate.samples instead"
        )
    for each in task.fields.get("filter_list") or ():
        for step in each.get("filter") or ():
            name, k = step.get("function"), step.get("k", 1)
            if name == "majority_vote" or (name == "take_first_k" and k != 1):
                why = "each sample is graded separately. Remove it; the report has votes over generate.samples"
                yield task.refusal("filter_list", name, why)


def _metrics_refused(task: TaskFile) -> Iterator[ConfigError]:
    """Refuse metrics from the hub, and a first metric that is not 1 for a right answer and 0 for a wrong one."""
    metrics = task.fields.get("metric_list") or [{"metric": "exact_match"}]
    for each in metrics:
        if each.get("hf_evaluate"):
            yield task.refusal("metric_list", each.get("metric"), "would be downloaded from the hub. Use a function")
    first = metrics[0]
    name, aggregation = first.get("metric"), first.get("aggregation", "mean")
    computed = isinstance(name, TaskFunction) or task.fields.get("process_results") is not None
    if not computed and name != "exact_match":
        why = "does not grade a single answer as right or wrong. Put exact_match or a function first"
        yield task.refusal("metric_list", name, why)
    if isinstance(aggregation, str) and aggregation not in MEANS:
        why = f"aggregation {aggregation} is not a mean over answers. Put a metric with aggregation: mean first"
        yield task.refusal("metric_list", name, why)
    if first.get("higher_is_better") is False:
        yield task.refusal("metric_list", name, "lower is better. Put a metric that is 1 for a right answer first")
