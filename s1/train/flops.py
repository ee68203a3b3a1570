"""Estimate fine-tuning time by counting FLOPs. Does no I/O.

    FLOPs    = T (m N + n L q s)    T: tokens, N: parameters, L: layers, q: width of the queries, s: tokens of a row
    seconds  = FLOPs / (peak x MFU), on one device

A multiply-add is two FLOPs. m is 2 for the forward pass, 2 for activation gradients, 2 for weight gradients (not with
adapters), and 2 more if gradient checkpointing recomputes activations: 6 or 8 for all weights, 4 or 6 with adapters.
n is 2, 4 and 2 for the forward pass, backward pass and recomputation of causal attention, which sees half of a row on
average; its backward pass does not depend on the training method.

MFU is the achieved share of the peak. It includes recomputation, so it does not depend on gradient checkpointing.
Fitted to the two runs that the s1 paper reports times for: Qwen2.5-32B on H100 (989 TFLOP/s dense in bfloat16),
5 epochs, assumed to use gradient checkpointing as s1's multi-node scripts do:

    s1K     6.93 GPU-hours (26 min on 16)     1,000 examples of 5,658 tokens    MFU 0.320
    59K      394 GPU-hours                   58,986 examples of 4,558 tokens    MFU 0.263

The mean length for s1K is a public count over s1K_tokenized (s1's users also report its maximum, 9,109). The trace is
4,700 tokens of it; for the 59K, whose traces have 3,600 tokens, the rest of the example is assumed to be as long. An
MFU of 0.30 (conf/cost/h100.yaml) is within 15% of both runs, including the start-up of 16 workers. s1 does not pack and
waits for the longest of 16 rows at every step: 0.30 is typical of such a run, not a limit of the GPUs.
"""

from __future__ import annotations

from s1.config.schema import DecoderShape, Train, TrainMethod
from s1.train.order import total_steps


def training_tokens(train: Train, examples: int, tokens_per_example: int) -> int:
    """Tokens processed in the whole training run."""
    return total_steps(examples, train) * train.batch_size * tokens_per_example


def training_flops(
    shape: DecoderShape, method: TrainMethod, checkpointing: bool, tokens: int, row_tokens: int
) -> float:
    """FLOPs to train on `tokens` tokens in rows of `row_tokens`."""
    recomputed = 2 if checkpointing else 0
    per_parameter = (6 if method is TrainMethod.FULL else 4) + recomputed
    attention = (6 + recomputed) * shape.layers * shape.heads * shape.head_size * row_tokens
    return tokens * (per_parameter * shape.parameters + attention)


def device_seconds(flops: float, peak_tflops: float, mfu: float) -> float:
    """Seconds on one device; divide by the number of devices."""
    return flops / (peak_tflops * 1e12 * mfu)
