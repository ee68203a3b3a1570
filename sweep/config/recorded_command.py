"""The command that a result records: those of the user's overrides that determine its points.

Omits fields such as `store`, `yes`, `redo`, `launch` and `track`, so that equal results record equal commands, unless a
point depends on one of them, such as on `${store}` in a value.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override

from sweep.config.escapes import on_one_line
from sweep.config.interpolation import names, texts_of
from sweep.config.overrides import UNRECORDED, field_of, sets_any


def command_of(
    typed: Sequence[tuple[str, Override]],
    declared: Sequence[str],
    configs: Iterable[Mapping[str, Any]],
    is_multirun: bool,
) -> str:
    """A shell command that composes the same points.

    `typed` holds each argument with its parsed override, `declared` the axes of the experiment, `configs` the composed
    configurations with interpolations unresolved.
    """
    overrides = list(_recorded(typed, [*declared, *_texts(configs)]))
    return shlex.join(["python", "-m", "sweep", *overrides, *(["-m"] if is_multirun else [])])


def _recorded(typed: Sequence[tuple[str, Override]], others: Sequence[str]) -> Iterator[str]:
    texts = [*others, *(argument for argument, override in typed if not sets_any(override, UNRECORDED))]
    for argument, override in typed:
        if not sets_any(override, UNRECORDED) or any(names(text, field_of(override)) for text in texts):
            yield on_one_line(argument)


def _texts(configs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for config in configs:
        yield from texts_of({name: node for name, node in config.items() if name not in UNRECORDED})
