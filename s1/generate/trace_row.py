"""The stored form of closed traces: one row of traces.jsonl for each, and the summary of all rows of a stage.

Summary: `sampled_tokens` is what the traces would cost from scratch, `engine_tokens` what the engine newly sampled for
them, and `served_tokens` the difference. `prompt_tokens` counts the prompts of the engine requests, `cached_tokens` how
many of these tokens were in the engine's cache. `continuation_tokens_reused` counts tokens read from the files of the
continuation store, and `continuation_lines_rejected` the lines that were ignored there; both are absent if 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from s1.generate.answer_text import answer_end, graded_text, thinks_on_tokens
from s1.generate.trace import Close, Part, Segment
from s1.models.thinking_format import Tokenizer, decode
from s1.records import TraceRow
from s1.stages import TracesConfig
from sweep.core.identity import Json
from sweep.core.stage import Summary

TRACES_FILE = "traces.jsonl"
ENGINE_USAGE = ("engine_tokens", "prompt_tokens", "cached_tokens")
STORE_USAGE = ("continuation_tokens_reused", "continuation_lines_rejected")  # absent from a summary if 0


def trace_row(question_id: str, sample: int, close: Close, config: TracesConfig, tokenizer: Tokenizer) -> TraceRow:
    """Decode a closed trace into its row."""
    trace = close.trace
    return TraceRow(
        question_id=question_id,
        sample=sample,
        prompt_tokens=len(trace.prompt_ids),
        segments=[_segment(each) for each in trace.segments],
        thinking=decode(trace.part_ids(Part.THINKING), tokenizer),
        answer=graded_text(config.thinking_format, close, tokenizer),
        ending=close.ending,
        thinking_tokens=trace.thinking_tokens,
        answer_tokens=trace.answer_tokens,
        answer_end=answer_end(trace, config.budget),
        thinks_on_tokens=thinks_on_tokens(config.thinking_format, trace, tokenizer),
        waits=trace.waits,
        sampled_tokens=trace.sampled_tokens,
    )


def summary_of(rows: Sequence[TraceRow], config: TracesConfig, usage: Mapping[str, int]) -> Summary:
    """Summarize the rows of a stage; the same whether one worker or several shards wrote them."""
    sampled = sum(row.sampled_tokens for row in rows)
    return {
        "questions": len(rows) // config.generate.samples,
        "samples": config.generate.samples,
        "thinking_tokens": sum(row.thinking_tokens for row in rows) / len(rows),
        "sampled_tokens": sampled,
        "served_tokens": max(0, sampled - usage["engine_tokens"]),
        **{name: usage[name] for name in ENGINE_USAGE},
        **{name: usage[name] for name in STORE_USAGE if usage[name]},
    }


def _segment(segment: Segment) -> dict[str, Json]:
    return {
        "part": segment.part.value,
        "origin": segment.origin.value,
        "ids": list(segment.ids),
        "ended_by": None if segment.ended_by is None else list(segment.ended_by),
    }
