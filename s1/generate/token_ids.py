"""Sequences of token ids in which texts with a common prefix hold its tokens once, 4 bytes each.

A `TokenBuffer` is an array that only grows, such as the known part of a continuation. `TokenIds` is an immutable
sequence made of stretches of buffers and tuples, without a copy of their ids: the thinking of 40 budgets are 40 views
onto one buffer. It equals, and hashes as, the tuple of the same ids.

`hash_of` hashes the text of a sequence. A buffer keeps the hashes of its own prefixes, so that requests that continue
one text at many places cost its length once.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, overload

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

HASHED_TOKENS = 1024  # between two hashes that a buffer keeps


class TokenBuffer:
    """Token ids from 0 to 2**32 - 1 that only grow."""

    __slots__ = ("_after", "_hashes", "ids", "largest")

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self.ids = array("I")
        self.largest = 0  # of all ids
        self._after: bytes | None = None  # digest of the text before this buffer that `_hashes` assume
        self._hashes: list[Hash] = []  # after 0, 1, 2, ... times HASHED_TOKENS ids
        self.extend(array("I", ids))

    def __len__(self) -> int:
        return len(self.ids)

    def extend(self, ids: Sequence[int]) -> None:
        """Append ids. Raises OverflowError for one that is negative or too large."""
        self.ids.extend(ids if isinstance(ids, array) else array("I", ids))
        self.largest = max(self.largest, max(ids, default=0))

    def first(self, tokens: int) -> TokenIds:
        """A view of the first ids."""
        return TokenIds(((self, 0, min(tokens, len(self.ids))),))

    def hash_after(self, before: Hash, tokens: int) -> Hash:
        """The hash of a text that ends in the first ids; `before` is that of what is in front of them."""
        after = before.digest()
        if self._after is None:
            self._after, self._hashes = after, [before.copy()]
        if self._after != after:  # the same ids in another text
            return _hash_with(before, self.ids[:tokens])
        for at in range((len(self._hashes) - 1) * HASHED_TOKENS, tokens - HASHED_TOKENS + 1, HASHED_TOKENS):
            self._hashes.append(_hash_with(self._hashes[-1], self.ids[at : at + HASHED_TOKENS]))
        nearest = tokens // HASHED_TOKENS
        return _hash_with(self._hashes[nearest], self.ids[nearest * HASHED_TOKENS : tokens])


Stretch: TypeAlias = "tuple[TokenBuffer | tuple[int, ...], int, int]"  # its ids, begin and end in them; not empty


class TokenIds(Sequence[int]):
    """An immutable sequence of token ids."""

    __slots__ = ("_length", "stretches")

    def __init__(self, stretches: tuple[Stretch, ...]) -> None:
        self.stretches = tuple(each for each in stretches if each[1] < each[2])
        self._length = sum(end - begin for _, begin, end in self.stretches)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(map(_ids_in, self.stretches))

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> TokenIds: ...
    def __getitem__(self, place: SupportsIndex | slice) -> int | TokenIds:
        if isinstance(place, slice):
            start, stop, step = place.indices(self._length)
            return self._slice(start, stop) if step == 1 else joined([tuple(self)[place]])
        index = place.__index__()
        left = index + self._length if index < 0 else index
        if not 0 <= left < self._length:
            raise IndexError(f"{index} of {self._length} tokens")
        for source, begin, end in self.stretches:
            if left < end - begin:
                return (source.ids if isinstance(source, TokenBuffer) else source)[begin + left]
            left -= end - begin
        raise AssertionError("lengths of the stretches do not add up")

    def _slice(self, start: int, stop: int) -> TokenIds:
        cut: list[Stretch] = []
        for source, begin, end in self.stretches:
            cut.append((source, begin + max(0, start), min(end, begin + stop)))
            start, stop = start - (end - begin), stop - (end - begin)
        return TokenIds(tuple(cut))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenIds | tuple):
            return NotImplemented
        return self._length == len(other) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_bytes, (array("I", self).tobytes(),)  # the ids alone: a buffer may be much longer


def joined(parts: Iterable[Sequence[int]]) -> TokenIds:
    """One sequence of several, without a copy of their ids."""
    stretches: list[Stretch] = []
    for part in parts:
        if isinstance(part, TokenIds):
            stretches.extend(part.stretches)
        else:
            whole = tuple(part)
            stretches.append((whole, 0, len(whole)))
    return TokenIds(tuple(stretches))


def first_outside(ids: Sequence[int], vocabulary: int) -> int | None:
    """The first id outside a vocabulary; None if all are in it. Does not look at buffers whose largest id is in it."""
    for source, begin, end in ids.stretches if isinstance(ids, TokenIds) else joined([ids]).stretches:
        if not isinstance(source, TokenBuffer) or source.largest >= vocabulary:
            for token in _ids_in((source, begin, end)):
                if not 0 <= token < vocabulary:
                    return token
    return None


def hash_of(ids: Sequence[int], start: bytes) -> Hash:
    """sha256 of `start` and the text `1, 2, 3` of the ids."""
    found, is_first = hashlib.sha256(start), True
    for source, begin, end in joined([ids]).stretches:
        if isinstance(source, TokenBuffer) and begin == 0 and not is_first:
            found = source.hash_after(found, end)
            continue
        text = _text(_ids_in((source, begin, end)))
        found.update(text[len(SEPARATOR) :] if is_first else text)
        is_first = False
    return found


SEPARATOR = b", "


def _text(ids: Iterable[int]) -> bytes:
    """`, 1, 2, 3`: a separator in front of each id."""
    return SEPARATOR + str(list(ids))[1:-1].encode("ascii")


def _hash_with(before: Hash, ids: Sequence[int]) -> Hash:
    found = before.copy()
    if ids:
        found.update(_text(ids))
    return found


def _ids_in(stretch: Stretch) -> Sequence[int]:
    source, begin, end = stretch
    if isinstance(source, TokenBuffer):
        return source.ids[begin:end]
    return source if end - begin == len(source) else source[begin:end]


def _from_bytes(content: bytes) -> TokenIds:
    buffer = TokenBuffer()
    buffer.extend(array("I", content))
    return buffer.first(len(buffer))
