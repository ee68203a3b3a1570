"""Token ids that share their prefixes: they read like a tuple, and hash like the text of one."""

from __future__ import annotations

import hashlib
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s1.generate.token_ids import HASHED_TOKENS, TokenBuffer, TokenIds, first_outside, hash_of, joined

IDS = st.lists(st.integers(0, 2**32 - 1), max_size=12).map(tuple)
TEXTS = st.lists(st.tuples(IDS, st.booleans()), max_size=4)


def mixed(parts: list[tuple[tuple[int, ...], bool]]) -> tuple[TokenIds, tuple[int, ...]]:
    """Ids of buffers and tuples, and the same as one tuple."""
    pieces = [TokenBuffer(ids).first(len(ids)) if is_buffer else ids for ids, is_buffer in parts]
    return joined(pieces), tuple(token for ids, _ in parts for token in ids)


@given(TEXTS, st.slices(40), st.slices(20))
def test_ids_read_like_the_tuple_of_them(parts, some: slice, others: slice) -> None:
    ids, whole = mixed(parts)
    assert ids == whole and whole == ids and hash(ids) == hash(whole) and repr(ids) == repr(whole)
    assert len(ids) == len(whole) and list(ids) == list(whole)
    assert [ids[place] for place in range(-len(whole), len(whole))] == [*whole, *whole]
    assert ids[some] == whole[some] and ids[some][others] == whole[some][others]
    assert pickle.loads(pickle.dumps(ids[some])) == whole[some]
    assert ids != (*whole, 0) and ids != list(whole)
    with pytest.raises(IndexError, match=f"{len(whole)} of {len(whole)} tokens"):
        ids[len(whole)]


def test_a_view_keeps_its_ids_while_the_buffer_grows_and_is_sent_without_what_it_does_not_show() -> None:
    buffer = TokenBuffer(range(5))
    view = buffer.first(3)
    buffer.extend(range(10_000))
    assert view == (0, 1, 2) and buffer.ids.itemsize == 4
    assert len(pickle.dumps(view)) < 200


@pytest.mark.parametrize("token", [-1, 2**32])
def test_a_token_that_has_no_room_in_four_bytes_is_refused(token: int) -> None:
    with pytest.raises(OverflowError):
        TokenBuffer((1, token))


@given(TEXTS)
def test_the_hash_is_that_of_the_json_text(parts) -> None:
    ids, whole = mixed(parts)
    assert hash_of(ids, b"[").digest() == hashlib.sha256(json.dumps(whole)[:-1].encode("ascii")).digest()


def test_hashes_that_a_buffer_keeps_are_those_of_its_own_text_only() -> None:
    """Requests continue a text at any place, in any order, and the same buffer may stand in another text."""
    buffer = TokenBuffer(range(3 * HASHED_TOKENS))
    for before in ((7, 8), (9,), (7, 8)):
        for tokens in (5, 2 * HASHED_TOKENS + 3, HASHED_TOKENS, HASHED_TOKENS - 1, 3 * HASHED_TOKENS, 1):
            text = json.dumps([*before, *range(tokens), 4])[:-1].encode("ascii")
            ids = joined((before, buffer.first(tokens), (4,)))
            assert hash_of(ids, b"[").digest() == hashlib.sha256(text).digest()
    buffer.extend(range(2 * HASHED_TOKENS))
    text = json.dumps([7, 8, *range(3 * HASHED_TOKENS), *range(HASHED_TOKENS + 1)])[:-1].encode("ascii")
    assert (
        hash_of(joined(((7, 8), buffer.first(4 * HASHED_TOKENS + 1))), b"[").digest() == hashlib.sha256(text).digest()
    )


def test_the_first_id_outside_a_vocabulary_is_found_wherever_it_is() -> None:
    long = TokenBuffer(range(100))
    assert first_outside(joined(((1, 2), long.first(50))), 100) is None
    assert first_outside(joined(((1, 2), long.first(50))), 50) is None  # the buffer has larger ones, this view none
    assert first_outside(joined(((1, 2), long.first(50))), 20) == 20
    assert first_outside((1, -2), 20) == -2
