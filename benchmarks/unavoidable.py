"""Tokens that no engine could leave out of a scan: what its traces hold, with common beginnings counted once.

Two points share the thinking up to where the smaller one is cut, and its answer belongs to it alone. So the traces of a
question are a tree, whose nodes are sampled or forced tokens, and the unavoidable tokens are its sampled nodes. A stop
is a node too: it was sampled, even if a continuation string replaced it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from s1.records import read_objects


def unavoidable_tokens(store: Path) -> int:
    """Of all traces in a store, which one seed made with one model."""
    traces: dict[tuple[str, str, int], list[Sequence[Mapping[str, Any]]]] = defaultdict(list)
    for path in store.glob("traces/*/out/traces.jsonl"):
        for row in read_objects(path):
            place = (row["question_id"], str(row["prompt_tokens"]), row["sample"])
            traces[place].append(row["segments"])
    return sum(map(distinct_sampled_tokens, traces.values()))


def distinct_sampled_tokens(traces: Iterable[Sequence[Mapping[str, Any]]]) -> int:
    """Sampled nodes in the tree of these traces, which have the same prompt; each is a list of segments."""
    nodes: dict[tuple[int, int], int] = {}  # (parent, token) to node
    sampled: set[int] = set()

    def descend(node: int, tokens: Iterable[int], is_sampled: bool) -> int:
        for token in tokens:
            node = nodes.setdefault((node, token), len(nodes) + 1)
            if is_sampled:
                sampled.add(node)
        return node

    for segments in traces:
        node = 0
        for segment in segments:
            is_sampled = segment["origin"] == "sampled"
            node = descend(node, segment["ids"], is_sampled)
            descend(node, segment["ended_by"] or (), is_sampled)  # the text goes on without it
    return len(sampled)
