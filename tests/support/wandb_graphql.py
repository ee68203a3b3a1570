"""Answers GraphQL documents from plain values, without a schema: for servers of tests, which no library gives.

A value is a dict, whose members may be functions of the field's arguments; a list; or what JSON has. A field that a
value lacks is null. Fragments apply whatever type they name. Needs graphql-core, which the server's environment has.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

graphql: Any = importlib.import_module("graphql")


@dataclass(frozen=True)
class Document:
    """One parsed request."""

    operation: Any
    fragments: Mapping[str, Any]
    variables: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """`query` or `mutation`."""
        return str(self.operation.operation.value)

    @property
    def fields(self) -> set[str]:
        """Names of the fields of the operation itself."""
        return {each.name.value for each in self.operation.selection_set.selections}

    def answer(self, root: Mapping[str, Any]) -> dict[str, Any]:
        """The selected members of `root`."""
        found = self._select(self.operation.selection_set, root)
        assert isinstance(found, dict)
        return found

    def _select(self, selection: Any, value: Any) -> Any:
        if isinstance(value, list):
            return [self._select(selection, each) for each in value]
        if selection is None or value is None:
            return value
        found: dict[str, Any] = {}
        for field in self._fields(selection):
            member = value.get(field.name.value)
            if callable(member):
                member = member(**self._arguments(field))
            name = (field.alias or field.name).value
            _merge(found, name, self._select(field.selection_set, member))
        return found

    def _fields(self, selection: Any) -> Iterator[Any]:
        """The fields of a selection, those of its fragments included."""
        for each in selection.selections:
            if not self._is_included(each):
                continue
            if each.kind == "field":
                yield each
            elif each.kind == "fragment_spread":
                yield from self._fields(self.fragments[each.name.value].selection_set)
            else:
                yield from self._fields(each.selection_set)

    def _is_included(self, node: Any) -> bool:
        wanted = {"include": True, "skip": False}
        return all(
            self._value(directive.arguments[0].value) is wanted[directive.name.value]
            for directive in node.directives or ()
            if directive.name.value in wanted
        )

    def _arguments(self, field: Any) -> dict[str, Any]:
        return {each.name.value: self._value(each.value) for each in field.arguments or ()}

    def _value(self, node: Any) -> Any:
        return graphql.value_from_ast_untyped(node, dict(self.variables))


def parsed(text: str, variables: Mapping[str, Any]) -> Document:
    """Parse a request with one operation."""
    definitions = graphql.parse(text).definitions
    (operation,) = (each for each in definitions if each.kind == "operation_definition")
    fragments = {each.name.value: each for each in definitions if each.kind == "fragment_definition"}
    defaults = {
        each.variable.name.value: graphql.value_from_ast_untyped(each.default_value)
        for each in operation.variable_definitions or ()
        if each.default_value is not None
    }
    return Document(operation, fragments, {**defaults, **variables})


def _merge(found: dict[str, Any], name: str, value: Any) -> None:
    before = found.get(name)
    if isinstance(before, dict) and isinstance(value, dict):
        for key, each in value.items():
            _merge(before, key, each)
    elif isinstance(before, list) and isinstance(value, list):
        for index, each in enumerate(value):
            if isinstance(each, dict):
                for key, member in each.items():
                    _merge(before[index], key, member)
    else:
        found[name] = value
