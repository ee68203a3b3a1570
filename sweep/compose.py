"""From the command line to typed points: the only file that knows Hydra and OmegaConf.

Hydra composes; it does not run. Axes come from the experiment file (`hydra.sweeper.params`) and from the command line,
which wins; their product is the grid, and `also:` adds single points beside it. Each combination of group choices is
composed once by Hydra and values are filled in: a point then costs milliseconds, not Hydra's tenths of a second.

    python -m sweep +experiment=budget_scan 'budget.max_thinking_tokens=64,128' -m

Everything Hydra itself answers (--help, --cfg, --info, completion) goes to Hydra unchanged.
"""

from __future__ import annotations

import importlib
import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sweep.contract import Request
from sweep.errors import InputError
from sweep.identity import Json
from sweep.provenance import PROJECT
from sweep.typed import no_such_field, typed

CONFIG = PROJECT / "conf"
ENTRY_FIELDS = ("pipeline", "store", "results", "plan", "also")


@dataclass(frozen=True)
class Entry:
    """What concerns the command and not the points."""

    pipeline: str  # the module that turns points into stages
    store: Path
    results: Path
    plan: bool  # only print the plan
    also: tuple[str, ...]  # points beside the grid, each written as on the command line


@dataclass(frozen=True)
class Composition:
    entry: Entry
    points: tuple[Any, ...]  # of the pipeline's schema
    request: Request


@dataclass(frozen=True)
class Axis:
    field: str
    choices: tuple[str, ...]  # overrides, e.g. "seed=0"
    is_group: bool


def is_question_to_hydra(argv: Sequence[str]) -> bool:
    """Flags other than -m are for Hydra to answer: help, --cfg, --info, completion."""
    return any(argument.startswith("-") and argument not in ("-m", "--multirun") for argument in argv)


def ask_hydra() -> None:
    """Let Hydra answer the command line by itself; it never runs anything."""
    hydra.main(version_base="1.3", config_path=str(CONFIG), config_name="config")(lambda config: None)()


def compose(argv: Sequence[str], config_directory: Path = CONFIG) -> Composition:
    """All points of a command line, typed. Raises InputError, one line per fault, before anything runs."""
    is_multirun = any(argument in ("-m", "--multirun") for argument in argv)
    overrides = [argument for argument in argv if argument not in ("-m", "--multirun")]
    try:
        with hydra.initialize_config_dir(config_dir=str(config_directory), version_base="1.3"):
            try:
                return _compose(overrides, is_multirun)
            except ConfigCompositionException:
                _refuse_unknown_fields(_parse(overrides))
                raise
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(_one_line(error)) from None


def _compose(arguments: Sequence[str], is_multirun: bool) -> Composition:
    given = _parse(arguments)
    _refuse_two_experiments(given)
    fixed = [each.input_line for each in given if not each.is_sweep_override()]
    first = _load(fixed + [axis.choices[0] for axis in _axes(given)])
    is_multirun = is_multirun or first.is_multirun
    _refuse_axes_without_multirun(given, is_multirun)
    entry = _entry(first.config)
    taken = {each.key_or_group for each in given}
    axes, extra = [], []
    if is_multirun:
        axes = _axes([each for each in _parse(first.declared) if each.key_or_group not in taken] + given)
        extra = [line for line in map(shlex.split, entry.also) if not taken & set(_fields(line))]
    fields = dict.fromkeys([axis.field for axis in axes] + [field for line in extra for field in _fields(line)])
    loaded = itertools.chain(_grid(fixed, axes), (_load([*fixed, *line]) for line in extra))
    points, values = _typed_points(loaded, list(fields), entry.pipeline)
    command = _command([each.input_line for each in given if each.key_or_group not in ENTRY_FIELDS], is_multirun)
    chosen = {each.key_or_group: first.choices[each.key_or_group] for each in given if _is_choice(each, first)}
    return Composition(entry, points, Request(command, chosen, values, entry.store))


def _is_choice(override: Override, first: Loaded) -> bool:
    """The command line picks one option of a group, other than the experiment."""
    is_group = override.key_or_group in first.choices and override.key_or_group != "experiment"
    return is_group and not override.is_sweep_override()


def _command(overrides: Sequence[str], is_multirun: bool) -> str:
    return shlex.join(["python", "-m", "sweep", *overrides, *(["-m"] if is_multirun else [])])


@dataclass(frozen=True)
class Loaded:
    """One composed configuration, Hydra's own part taken off."""

    config: DictConfig
    choices: Mapping[str, str]  # the option of every group
    declared: tuple[str, ...]  # the experiment's axes, as they would be typed
    is_multirun: bool

    def value(self, field: str) -> Json:
        """What is set at a field; for a group, the chosen option."""
        return self.choices[field] if field in self.choices else _plain(OmegaConf.select(self.config, field))


def _parse(lines: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(lines))


def _fields(lines: Sequence[str]) -> list[str]:
    return [each.key_or_group for each in _parse(lines)]


def _load(overrides: Sequence[str]) -> Loaded:
    config = hydra.compose(config_name="config", overrides=list(overrides), return_hydra_config=True)
    params = config.hydra.sweeper.params or {}
    loaded = Loaded(
        config=config,
        choices=dict(config.hydra.runtime.choices),
        declared=tuple(f"{field}={choices}" for field, choices in params.items()),
        is_multirun=config.hydra.mode is RunMode.MULTIRUN,
    )
    with open_dict(config):
        del config["hydra"]
    return loaded


def _axes(overrides: Sequence[Override]) -> list[Axis]:
    loader = GlobalHydra.instance().config_loader()
    return [
        Axis(
            field=each.key_or_group,
            choices=tuple(f"{each.get_key_element()}={choice}" for choice in each.sweep_string_iterator()),
            is_group=bool(loader.get_group_options(each.key_or_group)) or each.is_add() or each.is_force_add(),
        )
        for each in overrides
        if each.is_sweep_override()
    ]


def _grid(fixed: Sequence[str], axes: Sequence[Axis]) -> Iterator[Loaded]:
    """Every combination; the last axis varies fastest. Values are set in place: take what you need before the next."""
    first_values = [axis.choices[0] for axis in axes if not axis.is_group]
    composed = {
        choice: _load([*fixed, *choice, *first_values])
        for choice in itertools.product(*(axis.choices for axis in axes if axis.is_group))
    }
    for combination in itertools.product(*(axis.choices for axis in axes)):
        chosen = tuple(line for axis, line in zip(axes, combination, strict=True) if axis.is_group)
        for each in _parse([line for axis, line in zip(axes, combination, strict=True) if not axis.is_group]):
            OmegaConf.update(composed[chosen].config, each.key_or_group, each.value(), merge=True)
        yield composed[chosen]


def _typed_points(
    loaded: Iterable[Loaded], fields: Sequence[str], pipeline: str
) -> tuple[tuple[Any, ...], tuple[Mapping[str, Json], ...]]:
    """Every point typed, and what it sets at `fields`; the faults of all points together, each once."""
    schema = importlib.import_module(pipeline).Point
    points, values, faults = [], [], {}
    for each in loaded:
        plain = OmegaConf.to_container(each.config, resolve=True, throw_on_missing=True)
        content = {name: value for name, value in plain.items() if name not in ENTRY_FIELDS}
        try:
            points.append(typed(schema, content))
            values.append({field: each.value(field) for field in fields})
        except InputError as error:
            faults.update(dict.fromkeys(str(error).splitlines()))
    if faults:
        raise InputError("\n".join(faults))
    return tuple(points), tuple(values)


def _entry(config: DictConfig) -> Entry:
    entry = typed(Entry, {name: _plain(config[name]) for name in ENTRY_FIELDS})
    return replace(entry, store=_anchored(entry.store), results=_anchored(entry.results))


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _anchored(path: Path) -> Path:
    """Relative to the project, so that the same store is meant from wherever the command is typed."""
    return PROJECT / path.expanduser()


def _refuse_two_experiments(given: Sequence[Override]) -> None:
    named = [each for each in given if each.key_or_group == "experiment"]
    if len(named) > 1 or any(each.is_sweep_override() for each in named):
        names = ", ".join(each.input_line for each in named)
        raise InputError(f"{names}: two experiments in one command lose their own axes. Run one command for each.")


def _refuse_axes_without_multirun(given: Sequence[Override], is_multirun: bool) -> None:
    swept = [each for each in given if each.is_sweep_override()]
    if swept and not is_multirun:
        raise InputError(f"{swept[0].input_line}: several values are a sweep. Add -m.")


def _refuse_unknown_fields(given: Sequence[Override]) -> None:
    """Name the field that does not exist, and the nearest that does, where Hydra says how to force it in."""
    known = _load([]).config
    for each in given:
        if each.is_add() or each.is_force_add() or each.is_delete():
            continue
        parent, _, name = each.key_or_group.rpartition(".")
        node = OmegaConf.select(known, parent) if parent else known
        if OmegaConf.is_dict(node) and name not in node:
            raise InputError(no_such_field(each.key_or_group, [str(field) for field in node]))


def _one_line(error: Exception) -> str:
    """Hydra's and OmegaConf's messages span lines; the first carries the fault."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{lines[0].rstrip('.')}. {' '.join(lines[1:3]) or 'See --help.'}"
