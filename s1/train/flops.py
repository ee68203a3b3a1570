"""How long fine-tuning takes on so many devices, by counting what is computed. Pure.

    FLOPs    = T (m N + n L q s)    T: tokens, N: parameters, L: layers, q: width of the queries, s: tokens of a row
    seconds  = FLOPs / (peak x MFU), of one device

A multiply-add is two FLOPs. m is 2 for the forward pass, 2 for gradients of activations, 2 for those of weights (not
with adapters), 2 more where gradient checkpointing computes activations again: 6 or 8 for all weights, 4 or 6 with
adapters. n is 2, 4 and 2 for the same passes of causal attention, which sees half of a row on average; its backward
pass is the same whatever is trained.

MFU is the share of the peak that is reached, recomputation included, so it does not depend on gradient checkpointing.
Fitted to the two runs the s1 paper times, Qwen2.5-32B on H100 (989 TFLOP/s dense in bfloat16), 5 epochs, taken to
checkpoint gradients as s1's multi-node scripts do:

    s1K     6.93 GPU-hours (26 min on 16)     1,000 examples of 5,658 tokens    MFU 0.320
    59K      394 GPU-hours                   58,986 examples of 4,558 tokens    MFU 0.263

The mean of s1K is a public count over s1K_tokenized (whose maximum, 9,109, s1's users report too). 4,700 of it are the
trace; the 59K, with traces of 3,600, are taken to have as much beside them. One MFU of 0.30 (conf/cost/h100.yaml) lands
within 15% of both, start-up of 16 workers included. s1 packs nothing and waits for the longest of 16 rows at every
step: 0.30 is what such a run reaches, not what the GPUs could.
"""

from __future__ import annotations

from s1.config.schema import DecoderShape, Train, TrainMethod
from s1.train.order import total_steps


def training_tokens(train: Train, examples: int, tokens_per_example: int) -> int:
    """Tokens of a whole fine-tuning."""
    return total_steps(examples, train) * train.batch_size * tokens_per_example


def training_flops(
    shape: DecoderShape, method: TrainMethod, checkpointing: bool, tokens: int, row_tokens: int
) -> float:
    """FLOPs of so many tokens in rows of `row_tokens`."""
    recomputed = 2 if checkpointing else 0
    per_parameter = (6 if method is TrainMethod.FULL else 4) + recomputed
    attention = (6 + recomputed) * shape.layers * shape.heads * shape.head_size * row_tokens
    return tokens * (per_parameter * shape.parameters + attention)


def device_seconds(flops: float, peak_tflops: float, mfu: float) -> float:
    """Seconds of one device; of each among several as many less."""
    return flops / (peak_tflops * 1e12 * mfu)
