"""Bytes that generated traces take in the store, before anything runs. Pure.

traces.jsonl    each trace whole: token ids, text and a fixed part, also where points share the thinking
scores.jsonl    a fixed part for each trace
continuations   the ids of each newly sampled token, and a fixed part for each of about 3 pieces of a trace
The ids and the text of a token take 7.5 bytes in a scan of the laptop model with ten budgets, and as many in the
solutions of MATH-500 under SmolLM2's tokenizer; English prose has longer tokens.
"""

from __future__ import annotations

TRACE_BYTES = 650  # of a line of traces.jsonl, without ids and text
SCORE_BYTES = 270
CONTINUATION_BYTES = 3 * 80
BYTES_PER_TOKEN = 8.0  # ids and text in traces.jsonl, where no earlier run says
BYTES_PER_NEW_TOKEN = 4.0  # in the continuation store


def stored_bytes(traces: int, trace_tokens: float, new_tokens: float, bytes_per_token: float = BYTES_PER_TOKEN) -> int:
    """What a stage of traces and its scores leave in the store.

    `trace_tokens`: of the traces, whole; `new_tokens`: that were not in the continuation store before.
    """
    fixed = traces * (TRACE_BYTES + SCORE_BYTES + CONTINUATION_BYTES)
    return round(fixed + trace_tokens * bytes_per_token + new_tokens * BYTES_PER_NEW_TOKEN)


def measured_bytes_per_token(size_bytes: int, traces: int, trace_tokens: int) -> float:
    """Bytes of ids and text for each token of a file of traces."""
    return max(1.0, (size_bytes - traces * TRACE_BYTES) / max(1, trace_tokens))
