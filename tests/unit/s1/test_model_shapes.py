"""The sizes of models in conf/model agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from s1.config.schema import DecoderShape
from sweep.core.provenance import PROJECT

HUB = {"hub", "shape:"}
FILES = sorted(path for path in (PROJECT / "conf/model").glob("*.yaml") if set(path.read_text().split()) >= HUB)


def possible_parameters(shape: DecoderShape) -> Iterator[int]:
    """Of Qwen2 (biases of queries, keys and values) and Qwen3 (norms of queries and keys), embeddings tied or not."""
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    attention = shape.hidden_size * 2 * (queries + keys)
    layer = attention + 3 * shape.hidden_size * shape.feed_forward_size + 2 * shape.hidden_size
    embeddings = shape.vocabulary * shape.hidden_size
    for further in (queries + 2 * keys, 2 * shape.head_size):
        for tables in (1, 2):
            yield tables * embeddings + shape.layers * (layer + further) + shape.hidden_size


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_parameters_of_a_model_follow_from_its_other_sizes(path: Path) -> None:
    shape = yaml.safe_load(path.read_text(encoding="utf-8"))["shape"]
    assert shape["parameters"] in list(possible_parameters(DecoderShape(**shape)))
