"""`machine_of`: a machine for each model of a command.

    machine_of={s1_32b:h100x2,qwen3_8b:h100}

A point whose model is s1_32b is composed as if `machine=h100x2` had been typed for it alone, so that the engine and the
price that the machine sets are its own. Fields that the command line sets still win. Other models keep `machine`.

An experiment may set it too. A command that then types `machine=NAME`, and no `machine_of`, means all of its models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hydra.core.override_parser.types import Override

from sweep.config.overrides import field_of, sets_any, written
from sweep.errors import InputError
from sweep.plain_values import is_table
from sweep.suggestions import unknown

MACHINE_OF, MODEL, MACHINE = "machine_of", "model", "machine"
EXAMPLE = "{s1_32b:h100x2,qwen3_8b:h100}"


def is_overruled(given: Sequence[Override]) -> bool:
    """Whether the command line chooses a machine for all models, against the `machine_of` of an experiment."""
    types_machine = any(field_of(each) == MACHINE for each in given)
    return types_machine and not any(sets_any(each, (MACHINE_OF,)) for each in given)


def refuse_two_choices(given: Sequence[Override]) -> None:
    """Raises InputError for an axis of machines beside `machine_of`, which would choose another one."""
    typed = next((each for each in given if sets_any(each, (MACHINE_OF,))), None)
    for each in given:
        if typed is not None and field_of(each) == MACHINE and each.is_sweep_override():
            raise InputError(
                f"{written(each)} {written(typed)}: both choose machines. Name the machine of each model in"
                f" {MACHINE_OF}, and leave the list out."
            )


def machine_for(model: str | None, machines: object) -> str | None:
    """The machine that `machine_of` names for a model; None: it names none. Raises InputError for another value."""
    if machines is None:
        return None
    if not is_table(machines) or not all(isinstance(each, str) for each in machines.values()):
        raise InputError(f"{MACHINE_OF} {machines}: not a machine for each model. Write {MACHINE_OF}={EXAMPLE}.")
    return machines.get(model or "")


def with_machine(overrides: Sequence[str], machine: str) -> tuple[str, ...]:
    """The overrides with this machine in place of the one that they choose."""
    return (*(each for each in overrides if not each.startswith(f"{MACHINE}=")), f"{MACHINE}={machine}")


def refuse_unknown_models(machines: Mapping[str, str] | None, models: Sequence[str]) -> None:
    """Raises InputError for a name in `machine_of` that no point has as its model."""
    known = list(dict.fromkeys(models))
    for name in machines or {}:
        if name not in known:
            raise InputError(unknown(f"{MACHINE_OF}.{name}", "model of this command", name, known))
