"""The stage of conditional-control sets; the texts are s1/data/conditional.py's.

rows.jsonl     records.Example; the question says how long to think, and with control=steps the trace counts down
"""

from __future__ import annotations

from s1.config.schema import ConfigError
from s1.data.conditional import conditioned
from s1.models.location import tokenizer_at, tokenizer_location
from s1.models.thinking_format import encode
from s1.records import ROWS, Example, read_rows, write_rows
from s1.stages import ConditionedConfig
from sweep.core.stage import Summary, Work


def conditioned_rows(work: Work[ConditionedConfig]) -> Summary:
    """Say in every question how long its trace thinks. Raises ConfigError for a trace that says nothing."""
    location = tokenizer_location(work.one("model"))
    tokenizer = tokenizer_at(location)
    examples = read_rows(work.one("rows") / ROWS, Example)
    lengths = [len(encode(example.thinking.strip(), tokenizer)) for example in examples]
    if 0 in lengths:
        raise ConfigError(f"example {examples[lengths.index(0)].id}: its trace is empty. Leave it out of the pool.")
    config = work.config
    count = write_rows(work.out / ROWS, conditioned(examples, lengths, config.control, config.thinking_format))
    return {"examples": count, "shortest_tokens": min(lengths), "longest_tokens": max(lengths)}
