"""Key-value cache of the transformers engine, with the token ids that each slot holds.

    per layer   keys, values [slots, length, heads, dim]
    texts       [slots, length]: the token whose keys and values are stored there, EMPTY if none

The length grows by doubling, and the number of slots shrinks to stay within the memory limit. A slot keeps its text
after its request has ended, so a later prompt with the same prefix copies it instead of computing it again: a forced
answer after a thinking prefix, a continuation after "Wait".
It replaces a transformers `Cache`. The model only calls `update` in each layer, because the engine passes positions and
a complete mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

FIRST_LENGTH = 256
EMPTY = -1


class SlotCache:
    """Holds at most `slots` texts and `tokens` tokens in total."""

    def __init__(self, layers: int, slots: int, tokens: int, device: torch.device) -> None:
        self._slots = slots
        self._tokens = tokens
        self._texts = torch.full((self._slots_of(FIRST_LENGTH), FIRST_LENGTH), EMPTY, device=device)
        self._keys: list[torch.Tensor | None] = [None] * layers
        self._values: list[torch.Tensor | None] = [None] * layers
        self._window = slice(0, 0)
        self._visible = 0
        self._places: tuple[torch.Tensor, torch.Tensor] = (self._texts, self._texts)

    def slots_for(self, length: int) -> int:
        """Number of texts that fit if one of them reaches this length; at least one."""
        return self._slots_of(self._grown(length))

    def reserve(self, length: int) -> None:
        """Grow every slot to this length, dropping the last slots if memory requires it."""
        grown = self._grown(length)
        if grown == self._texts.shape[1]:
            return
        shape = (self._slots_of(grown), grown)
        self._texts = _resized(self._texts, shape, EMPTY)
        for side in (self._keys, self._values):
            side[:] = [None if held is None else _resized(held, shape, 0) for held in side]

    def aim(self, first: int, ids: torch.Tensor, positions: torch.Tensor, visible: int) -> None:
        """Set where the next forward pass writes: `ids` at `positions`, both [rows, queries], in slots from `first`."""
        rows = torch.arange(first, first + len(ids), device=ids.device)
        self._window, self._visible = slice(first, first + len(ids)), visible
        self._places = (rows[:, None], positions)
        self._texts[self._places] = ids

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store [rows, heads, queries, dim]; return everything the rows now hold, [rows, heads, visible, dim]."""
        return self._put(self._keys, layer_idx, key_states), self._put(self._values, layer_idx, value_states)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self._visible

    def longest_prefix(self, ids: Sequence[int]) -> tuple[int, int]:
        """Find the slot with the longest common prefix with `ids`; returns (slot, tokens)."""
        compared = min(len(ids), self._texts.shape[1])
        if compared == 0:
            return 0, 0
        differs = self._texts[:, :compared] != torch.tensor(tuple(ids[:compared]), device=self._texts.device)
        common = torch.where(differs.any(1), differs.int().argmax(1), compared)
        slot = int(common.argmax())
        return slot, int(common[slot])

    def fill(self, first: int, prefixes: Sequence[tuple[int, int]]) -> None:
        """Copy prefixes (slot, tokens) of other slots into the slots from `first` on, and clear the rest of them."""
        targets = list(range(first, first + len(prefixes)))
        sources = [slot for slot, _ in prefixes]
        longest = max(tokens for _, tokens in prefixes)
        for held in self._tensors():
            held[targets, :longest] = held[sources, :longest]
        kept = torch.tensor([[tokens] for _, tokens in prefixes], device=self._texts.device)
        beyond = torch.arange(self._texts.shape[1], device=self._texts.device) >= kept
        self._texts[targets] = self._texts[targets].masked_fill_(beyond, EMPTY)

    def swap(self, some: Sequence[int], others: Sequence[int]) -> None:
        """Swap slots pairwise."""
        to, source = [*some, *others], [*others, *some]
        for held in self._tensors():
            held[to] = held[source]

    def _put(self, side: list[torch.Tensor | None], layer: int, states: torch.Tensor) -> torch.Tensor:
        held = side[layer]
        if held is None:
            heads, size = states.shape[1], states.shape[3]
            held = side[layer] = states.new_zeros(*self._texts.shape, heads, size)
        held[self._places] = states.transpose(1, 2)
        return held[self._window, : self._visible].transpose(1, 2)

    def _tensors(self) -> Iterator[torch.Tensor]:
        yield self._texts
        yield from (held for held in (*self._keys, *self._values) if held is not None)

    def _grown(self, needed: int) -> int:
        length = self._texts.shape[1]
        while length < needed:
            length *= 2
        return length

    def _slots_of(self, length: int) -> int:
        return max(1, min(self._slots, self._tokens // length))


def _resized(held: torch.Tensor, shape: tuple[int, int], fill: int) -> torch.Tensor:
    """Copy into a tensor of fewer, longer slots."""
    resized = held.new_full((*shape, *held.shape[2:]), fill)
    resized[:, : held.shape[1]] = held[: shape[0]]
    return resized
