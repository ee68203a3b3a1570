"""A finished stage as the store describes it, for commands that use results without composing their points.

Its key is that in the store, whatever the code is now. It is never made again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from sweep.core.identity import Identity
from sweep.core.stage import Stage
from sweep.core.targets import schema_of
from sweep.core.typed import Typed, typed
from sweep.errors import InputError


@dataclass(frozen=True)
class RecordedStage(Stage):
    """A finished stage. `config` is the JSON in its identity; `as_config` types it."""

    recorded: Identity = field(kw_only=True)
    recorded_request_key: str = field(kw_only=True)
    config_type: str = field(kw_only=True)  # "package.module:Class"
    digest: str = field(kw_only=True)  # of its artifact now
    lost: tuple[str, ...] = field(kw_only=True, default=())  # addresses of inputs that are no longer in the store

    def identity(self) -> Identity:
        return self.recorded

    @cached_property
    def request_key(self) -> str:
        return self.recorded_request_key

    def as_config(self, schema: type[Typed]) -> Typed:
        """Its config. Raises InputError if it is not of this schema, or of an earlier version of it."""
        if schema_of(self.config_type) is not schema:
            raise InputError(f"{self.address}: its config is {self.config_type}, not {schema.__name__}.")
        return typed(schema, self.config)

    def stages_of(self, role: str) -> tuple[RecordedStage, ...]:
        """Its inputs of one role that are stages."""
        return tuple(each for each in self.inputs.get(role, ()) if isinstance(each, RecordedStage))
