"""From the command line to typed points. Only this module and sweep/config/overrides.py use Hydra and OmegaConf.

Hydra composes; it does not run. Axes come from the experiment file (`hydra.sweeper.params`) and from the command line,
which wins; their product is the grid, and `also:` adds points to it (sweep/config/extra_points.py). Hydra composes
each combination of group options once and values are filled in, so a point takes milliseconds instead of Hydra's tenths
of a second. Equal points are merged. A result records a command that makes the same points
(sweep/config/recorded_command.py).

    python -m sweep +experiment=budget_scan 'budget.max_thinking_tokens=64,128' -m
    python -m sweep +experiment=budget_scan 'budget.max_thinking_tokens=geomspace(8,256,32)' -m

Hydra's own flags (--hydra-help, --cfg, --info, completion of fields) are passed to Hydra unchanged.
"""

from __future__ import annotations

import io
import itertools
import math
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast

import hydra
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sweep.config.escapes import decoded
from sweep.config.extra_points import ExtraPoints, parse_extra_points, select_extra_points
from sweep.config.interpolation import Resolver, pure_resolvers, refusal
from sweep.config.machine_of import (
    MACHINE,
    MACHINE_OF,
    MODEL,
    is_overruled,
    machine_for,
    refuse_two_choices,
    refuse_unknown_models,
    with_machine,
)
from sweep.config.messages import message_for
from sweep.config.overrides import (
    LAUNCH,
    Axis,
    as_list,
    axes_of,
    field_of,
    fixed_overrides,
    is_option,
    parse_overrides,
    read,
    refuse_axes_without_multirun,
    refuse_impossible_axes,
    refuse_missing_plus,
    refuse_misspelt_groups,
    refuse_too_many,
    refuse_two_experiments,
    refuse_values_of_groups,
    sets_any,
    written,
)
from sweep.config.own_conf import add_own_conf
from sweep.config.recorded_command import command_of
from sweep.core.identity import Json
from sweep.core.launch import settings_without_slurm, short_names
from sweep.core.pipeline import ComposedPoint, Pipeline, SweepRequest
from sweep.core.ranges import has_text
from sweep.core.targets import module_of
from sweep.core.typed import no_such_field, typed
from sweep.errors import InputError
from sweep.places import folder_at, shipped
from sweep.plain_values import is_mapping
from sweep.printable import printable
from sweep.secrets import Guard, redacted
from sweep.store.directory import Store

CONFIG = shipped("conf")
MULTIRUN_FLAGS = ("-m", "--multirun")
ENVIRONMENT_COPIED = "hydra.job.env_copy {}: copies the environment into the configuration. Remove it."
MOST_TRIED = 20  # values of an axis, to find the one at fault
ENTRY_FIELDS = ("pipeline", "store", "results", "plan", "yes", "also", "redo", MACHINE_OF)


@dataclass(frozen=True)
class Entry:
    """Fields of the command, not of its points."""

    pipeline: str  # the module that turns points into stages
    store: Path  # folder of finished stages
    results: Path  # folder of published results
    plan: bool  # print the plan and stop
    yes: bool  # do not ask about the cost; take over from unreachable workers
    also: tuple[str, ...]  # points outside the grid, each written as overrides on one line
    redo: tuple[str, ...] = ()  # names of finished stages to make again
    # a machine for each model that does not use `machine`, in shell quotes: 'machine_of={s1_32b:h100x2,qwen3_8b:h100}'
    machine_of: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Composition:
    entry: Entry
    points: tuple[Any, ...]  # of the pipeline's schema
    request: SweepRequest
    arguments: tuple[str, ...] = ()  # as typed
    notes: tuple[str, ...] = ()  # points of the experiment that the command line drops
    composed: tuple[ComposedPoint, ...] = ()  # each point with its whole configuration


def ask_hydra(argv: Sequence[str]) -> None:
    """Let Hydra answer a command line, with secrets removed from its output; nothing is run.

    Raises InputError for what cannot be composed.
    """
    Guard().refuse_arguments(argv)
    argv = [each if each.startswith("-") else as_list(each, "redo") for each in argv]
    sys.argv[1:] = [each if each.startswith("-") or "=" not in each else decoded(each) for each in argv]
    answer, complaint = io.StringIO(), io.StringIO()
    add_own_conf()
    try:
        if not set(argv) & {"-sc", "--shell_completion"}:  # the words of a completion may be unfinished
            overrides = [each for each in argv if not each.startswith("-")]
            with _hydra(overrides, CONFIG):
                given = read(overrides)
                _refuse_axes_for_hydra(given)
                config = _load(fixed_overrides(given)).config
                OmegaConf.to_container(config, resolve="--resolve" in argv)
        with (
            _input_errors(argv, CONFIG),
            _full_errors(),
            pure_resolvers(),
            redirect_stdout(answer),
            redirect_stderr(complaint),
        ):
            hydra.main(version_base="1.3", config_path=str(CONFIG), config_name="config")(lambda config: None)()
    except SystemExit as ended:
        if not ended.code:
            raise
        flags = " ".join(each for each in argv if each.startswith("-"))
        why = redacted(" ".join(complaint.getvalue().split()))
        complaint = io.StringIO()
        raise InputError(f"{flags}: {why}. Correct the command, or see --help.") from None
    finally:
        for said, to in ((answer, sys.stdout), (complaint, sys.stderr)):
            to.write(printable(redacted(said.getvalue())))


def _refuse_axes_for_hydra(given: Sequence[Override]) -> None:
    for axis in (each for each in given if each.is_sweep_override()):
        raise InputError(f"{written(axis)}: several values, but Hydra's flags show one point. Give one value.")


def compose(argv: Sequence[str], config_directory: Path = CONFIG) -> Composition:
    """Compose all points of a command line. Raises InputError, one line per fault, before anything runs."""
    is_multirun = any(argument in MULTIRUN_FLAGS for argument in argv)
    overrides = [as_list(argument, "redo") for argument in argv if argument not in MULTIRUN_FLAGS]
    Guard().refuse_arguments(argv)
    with _hydra(overrides, config_directory):
        return replace(_compose(overrides, is_multirun), arguments=tuple(argv))


def compose_entry(overrides: Sequence[str], config_directory: Path = CONFIG) -> Entry:
    """Read the fields of the command only, such as store and results, without composing points. Raises InputError."""
    Guard().refuse_arguments(overrides)
    with _hydra(overrides, config_directory):
        given = read(overrides)
        refuse_impossible_axes(given)
        return _entry(_load([written(each) for each in given]).config)


@contextmanager
def _hydra(overrides: Sequence[str], config_directory: Path) -> Generator[None]:
    """Initialise Hydra with pure resolvers only, and convert its errors to InputError."""
    with _input_errors(overrides, config_directory):
        add_own_conf()
        with hydra.initialize_config_dir(config_dir=str(config_directory), version_base="1.3"), pure_resolvers():
            try:
                yield
            except (HydraException, OmegaConfBaseException) as error:
                if isinstance(error.__cause__, InputError) or refusal(error, config_directory, overrides):
                    raise
                given = read(overrides)
                if isinstance(error, ConfigCompositionException):
                    _refuse_unknown_fields(given)
                raise InputError(message_for(error, config_directory, _at_fault(given))) from None


def _at_fault(given: Sequence[Override]) -> str | None:
    """The first override with which the configuration does not compose or resolve."""
    fixed = [line for line in fixed_overrides(given) if not line.startswith("also=")]
    tries = [fixed[:count] for count in range(len(fixed) + 1)]
    tries += [[*fixed, choice] for axis in axes_of(given) for choice in axis.choices[:MOST_TRIED]]
    for overrides in tries:
        try:
            OmegaConf.to_container(_load(overrides).config, resolve=True)
        except (HydraException, OmegaConfBaseException):
            return overrides[-1] if overrides else None
    return next((written(each) for each in given if sets_any(each, ("also",))), None)


@contextmanager
def _full_errors() -> Generator[None]:
    """Hydra raises its errors, instead of printing a traceback and exiting."""
    before = os.environ.get("HYDRA_FULL_ERROR")
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    finally:
        del os.environ["HYDRA_FULL_ERROR"]
        if before is not None:
            os.environ["HYDRA_FULL_ERROR"] = before


@contextmanager
def _input_errors(overrides: Sequence[str], config_directory: Path) -> Generator[None]:
    """Convert errors of Hydra, OmegaConf and YAML to InputError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        ours = error.__cause__ if isinstance(error.__cause__, InputError) else None  # raised inside Hydra's parser
        ours = ours or refusal(error, config_directory, overrides) or InputError(message_for(error, config_directory))
        raise InputError(redacted(str(ours))) from None
    except InputError as error:
        raise type(error)(redacted(str(error))) from None


def _compose(arguments: Sequence[str], is_multirun: bool) -> Composition:
    given = read(arguments)
    refuse_two_experiments(given)
    refuse_misspelt_groups(given)
    refuse_impossible_axes(given)
    refuse_two_choices(given)
    load = cache(_load if is_overruled(given) else _load_with_machine)
    first = _first(load, fixed_overrides(given), axes_of(given))
    is_multirun = is_multirun or first.is_multirun
    refuse_axes_without_multirun(given, is_multirun)
    entry = _entry(first.config)
    are_typed = any(sets_any(each, ("also",)) for each in given)
    if are_typed and entry.also and not is_multirun:
        raise InputError(f"also {entry.also[0]!r}: it adds points, so the command is a sweep. Add -m.")
    axes, lines, notes = _declared(first, entry, given, are_typed) if is_multirun else ([], [], [])
    fields = dict.fromkeys([axis.field for axis in axes] + [field for line in lines for field in line.fields])
    beside = (_extra_points(load, line, given, axes) for line in lines)
    loaded = list(itertools.chain(_grid(load, fixed_overrides(given), axes), *beside))
    composed, values = _typed_points(loaded, list(fields), entry.pipeline)
    configs = [_raw(config) for config in {id(each.config): each.config for each in loaded}.values()]
    typed_here = list(zip(arguments, given, strict=True))
    if not is_overruled(given):
        refuse_unknown_models(entry.machine_of, [each.choices.get(MODEL, "") for each in composed])
    Guard().refuse({"also": list(entry.also), "store": str(entry.store), "results": str(entry.results)})
    request = SweepRequest(
        command=command_of(typed_here, first.declared, configs, is_multirun),
        values=values,
        store=entry.store,
        store_id=lambda: Store(entry.store).id,
    )
    return Composition(
        entry, tuple(each.point for each in composed), request, notes=tuple(notes), composed=tuple(composed)
    )


def _declared(
    first: Loaded, entry: Entry, given: Sequence[Override], are_typed: bool
) -> tuple[list[Axis], list[ExtraPoints], list[str]]:
    """All axes, the experiment's first; the lines of `also`; and notes on dropped lines."""
    taken = {field_of(each) for each in given}
    declared = read(first.declared)
    refuse_impossible_axes(declared)
    single = [
        Axis(field_of(each), (written(each),), is_composed=True) for each in declared if not each.is_sweep_override()
    ]
    own = [axis for axis in [*axes_of(declared), *single] if axis.field not in taken]
    lines, notes = select_extra_points([parse_extra_points(text) for text in entry.also], given, are_typed)
    return [*own, *axes_of(given)], lines, notes


def _extra_points(load: Load, line: ExtraPoints, given: Sequence[Override], axes: Sequence[Axis]) -> Iterator[Loaded]:
    """The points of one `also` line, combined with all axes that it does not set."""
    others = [axis for axis in axes if not line.sets(axis)]
    fixed, set_in_place = line.fixed_beside(others)
    return _grid(load, [*fixed_overrides(given), *fixed], [*others, *line.axes, *set_in_place])


@dataclass(frozen=True)
class Loaded:
    """One composed configuration, without Hydra's own node."""

    config: DictConfig
    choices: Mapping[str, str]  # the option of each group, by the field it sets
    declared: tuple[str, ...]  # the experiment's axes, as they would be typed
    is_multirun: bool
    plain: Mapping[str, Any] | None = None  # for a point: its resolved configuration


Load: TypeAlias = Callable[[tuple[str, ...]], Loaded]  # _load, cached


def _load(overrides: Sequence[str]) -> Loaded:
    refuse_values_of_groups(parse_overrides(overrides))
    try:
        config = hydra.compose(config_name="config", overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, YAMLError, UnicodeDecodeError, InputError):
        raise
    except KeyError as error:  # from os.environ, which Hydra reads without a check
        raise InputError(ENVIRONMENT_COPIED.format(error)) from None
    except (ValueError, TypeError, AttributeError, AssertionError, RecursionError) as error:  # of malformed files
        raise ConfigCompositionException(str(error)) from error
    if copied := _raw(config.hydra.job.env_copy):
        raise InputError(ENVIRONMENT_COPIED.format(copied))
    params: Mapping[str, object] = _raw(config.hydra.sweeper.params) if config.hydra.sweeper.params else {}
    chosen: Mapping[str, str] = _raw(config.hydra.runtime.choices)
    if "experiment" in chosen and "experiment" in config:
        raise InputError(
            f"experiment {chosen['experiment']}: its file does not begin with `# @package _global_`, so it sets no"
            " field. Add that as its first line."
        )
    loaded = Loaded(
        config=config,
        choices={place.rpartition("@")[2]: option for place, option in chosen.items()},
        declared=tuple(f"{field}={'null' if choices is None else choices}" for field, choices in params.items()),
        is_multirun=config.hydra.mode is RunMode.MULTIRUN,
    )
    with open_dict(config):
        del config["hydra"]
    return loaded


def _load_with_machine(overrides: tuple[str, ...]) -> Loaded:
    """The configuration with the machine that `machine_of` names for its model."""
    loaded = _load(overrides)
    machine = machine_for(loaded.choices.get(MODEL), _raw(loaded.config.get(MACHINE_OF)))
    if machine is None or machine == loaded.choices.get(MACHINE):
        return loaded
    return _load(with_machine(overrides, machine))


def _first(load: Load, fixed: Sequence[str], axes: Sequence[Axis]) -> Loaded:
    """The configuration with the first choice of every axis."""
    choice = [axis.choices[0] for axis in axes if axis.is_composed]
    return _compose_with_values(load, (*fixed, *choice), [axis.choices[0] for axis in axes if not axis.is_composed])


def _compose_with_values(load: Load, composed: tuple[str, ...], values: Sequence[str]) -> Loaded:
    """A copy of the composed configuration with values set as Hydra would; Hydra reports values that it refuses."""
    base = load(composed)
    config = deepcopy(base.config)
    try:
        for each in parse_overrides(values):
            OmegaConf.update(config, each.key_or_group, each.value(), merge=True)
    except OmegaConfBaseException:
        return load((*composed, *values))
    return replace(base, config=config)


def _grid(load: Load, fixed: Sequence[str], axes: Sequence[Axis]) -> Iterator[Loaded]:
    """Every combination of the axes; the last axis varies fastest."""
    refuse_too_many(", ".join(axis.field for axis in axes), math.prod(len(axis.choices) for axis in axes))
    first_values = [axis.choices[0] for axis in axes if not axis.is_composed]
    composed = {
        choice: _compose_with_values(load, (*fixed, *choice), first_values)
        for choice in itertools.product(*(axis.choices for axis in axes if axis.is_composed))
    }
    given = {line: parse_overrides([line])[0] for axis in axes if not axis.is_composed for line in axis.choices}
    resolvers = {choice: Resolver(each.config) for choice, each in composed.items()}
    for combination in itertools.product(*(axis.choices for axis in axes)):
        chosen = tuple(line for axis, line in zip(axes, combination, strict=True) if axis.is_composed)
        values = {given[line].key_or_group: given[line].value() for line in combination if line in given}
        yield replace(composed[chosen], plain=resolvers[chosen].resolved(values))


def pipeline_of(name: str, *needed: str) -> Pipeline:
    """Import a pipeline module and check that it has the needed names. Raises InputError."""
    try:
        module = module_of(name, "pipeline")
    except (ImportError, SyntaxError) as error:
        if not isinstance(error, ModuleNotFoundError) or error.name is None or not name.startswith(error.name):
            raise InputError(
                f"pipeline {name}: cannot be imported: {error}. Fix it, or install what it needs."
            ) from error
        module = None
    if module is None:
        raise InputError(f"pipeline {name}: no such module. Name a pipeline, such as s1.pipeline.")
    if missing := [each for each in needed if not hasattr(module, each)]:
        raise InputError(f"pipeline {name}: not a pipeline: it has no {missing[0]}. Name one, such as s1.pipeline.")
    return cast(Pipeline, module)  # a module with the needed names


def _typed_points(
    loaded: Iterable[Loaded], fields: Sequence[str], pipeline: str
) -> tuple[tuple[ComposedPoint, ...], tuple[Mapping[str, Json], ...]]:
    """All distinct points, and the values each sets at `fields`. Raises InputError with the faults of all points."""
    schema, guard = pipeline_of(pipeline, "Point", "graph").Point, Guard()
    points: dict[str, ComposedPoint] = {}
    values: dict[str, Mapping[str, Json]] = {}
    faults: dict[str, None] = {}
    for each in loaded:
        content = {str(name): value for name, value in (each.plain or {}).items() if name not in ENTRY_FIELDS}
        try:
            guard.refuse(content)
            _refuse_settings_without_slurm(content, each.choices)
            point = typed(schema, content)
        except InputError as error:
            faults.update(dict.fromkeys(str(error).splitlines()))
            continue
        same = repr((point, [each.choices.get(field) for field in fields]))
        composed = points.setdefault(same, ComposedPoint(point, each.choices, each.plain or {}))
        values.setdefault(same, {field: composed.value(field) for field in fields})
    if faults:
        raise InputError("\n".join(faults))
    return tuple(points.values()), tuple(values.values())


def _refuse_settings_without_slurm(content: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    launch = content.get(LAUNCH)
    if is_mapping(launch) and LAUNCH in choices and (fault := settings_without_slurm(launch, choices[LAUNCH])):
        raise InputError(fault)


def _entry(config: DictConfig) -> Entry:
    fields = {name: _plain(config[name]) for name in ENTRY_FIELDS if name in config}
    for name in ("pipeline", "store", "results"):
        if isinstance(fields.get(name), str) and not has_text(fields[name]):
            raise InputError(f"{name} '': empty. Write {name}=NAME, or leave it out.")
    entry = typed(Entry, {**fields, "also": _raw(config["also"])})  # interpolations are resolved for each point
    # Absolute, as workers run in another directory.
    return replace(entry, store=folder_at("store", entry.store), results=folder_at("results", entry.results))


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _raw(node: Any) -> Any:
    """As plain values, with interpolations unresolved."""
    return OmegaConf.to_container(node) if OmegaConf.is_config(node) else node


def _with_options(given: Sequence[Override]) -> Loaded:
    """The configuration with the options that the command chooses, such as its launcher, and what it adds.

    Without what the command sets, if that does not compose.
    """
    fixed = [each for each in given if not each.is_sweep_override()]
    for chosen in (
        [each for each in fixed if each.is_add() or is_option(each)],
        [each for each in fixed if each.is_add()],
    ):
        with suppress(HydraException, OmegaConfBaseException, YAMLError, UnicodeDecodeError, InputError):
            return _load([written(each) for each in chosen])
    return _load([])


def _refuse_unknown_fields(given: Sequence[Override]) -> None:
    """Raises InputError for a field that does not exist, with those that do; Hydra would suggest forcing it."""
    loaded = _with_options(given)
    known = loaded.config
    for each in given:
        field = field_of(each)
        if field in loaded.choices and not OmegaConf.is_dict(OmegaConf.select(known, field)):
            continue  # a group that sets fields elsewhere, such as scale
        if each.is_add() or each.is_force_add() or field.partition(".")[0].partition("/")[0] == "hydra":
            continue
        names = field.split(".")
        if OmegaConf.select(known, field) is None:
            refuse_missing_plus(each)
        for depth, name in enumerate(names):
            node = OmegaConf.select(known, ".".join(names[:depth])) if depth else known
            if not OmegaConf.is_dict(node):
                place = ".".join(names[:depth])
                raise InputError(f"{each.input_line}: {place} has no fields. Set {place} itself.")
            if name not in node:
                place = ".".join(names[:depth])
                fields = [str(field) for field in node]
                if place == LAUNCH and (
                    fault := settings_without_slurm({".".join(names[1:]): None}, loaded.choices.get(LAUNCH, ""))
                ):
                    raise InputError(fault)
                raise InputError(no_such_field(".".join(names[: depth + 1]), [*fields, *short_names(place, fields)]))
