"""Estimate the memory of one GPU in fine-tuning, part by part, before anything is queued. Pure; GiB.

Symbols: P parameters; A adapter parameters (rank x (inputs + outputs) of every target); w and b bytes per number in
weights_dtype and dtype; D GPUs that shard weights, gradients and optimizer state (FSDP2); V, h, f, q, k the widths of
vocabulary, residual stream, feed-forward layer, queries, keys; T tokens on one GPU (micro_batch x the longest row).

weights       full  w P / D       lora  (w P + 4 A) / D       qlora  (n P_layers + w P_rest + 4 A) / D
gradients     w P / D, or 4 A / D: adapters stay in float32
optimizer     twice the gradients: AdamW. With float32, 16 bytes per parameter in total, as in s1
working copy  under FSDP2, two layers (one is gathered while the other computes) and everything outside the layers, in
              dtype, plus their gradients, summed in float32, if they are trained; on one GPU, all that autocast casts
activations   layers x a x T, or with gradient checkpointing (layers x r h + a) x T; a is bytes per layer and token,
              a = 2 (4 + r + b) h + b (2 q + 2 k) + 4 b f + b h + 3 b f
              two norms (float32 input, normalized, output), queries, keys, values, attention output, four SwiGLU
              tensors; and in the backward pass, gradients of the stream and the feed-forward layer. r is bytes per
              number in the residual stream: b under FSDP2, else w. Attention is fused, so no T x T matrix is stored.
              Adapters store a copy of each target's input and of its dropout output.
loss          4 V h if the head is trained + (4 + b) h T: gradients that TRL's chunked head keeps in float32; it never
              stores the logits of a whole row
overhead      CUDA context, cuBLAS, NCCL: OVERHEAD_GIB, assumed

Sources: Korthikanti et al. 2022 (activations; adapted to the tensors of transformers' Qwen2), Rajbhandari et al. 2020
(weights, gradients, states), Dettmers et al. 2023 (NF4: n is 4 bits, plus 0.127 for doubly quantized constants), TRL
1.16. Checked against figures that s1's users report; not measured on a GPU of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from s1.config.resources import Machine
from s1.config.schema import ConfigError, DecoderShape, Lora, Train, TrainMethod

GIB = 2**30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
NF4_BYTES = (4 + 0.127) / 8
ADAPTER_BYTES = 4  # PEFT keeps adapters in float32
OVERHEAD_GIB = 2.0
MARGIN = 0.05  # of GPU memory, reserved for fragmentation
ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class Parts:
    """GiB on one GPU."""

    weights: float
    gradients: float
    optimiser: float
    working_copy: float
    activations: float
    loss: float
    overhead: float

    @property
    def gib(self) -> float:
        return sum(getattr(self, each.name) for each in fields(self))


@dataclass(frozen=True)
class Memory:
    row_tokens: int  # the longest row
    parts: Parts
    gib_without_rows: float  # the sum of parts for rows of length 0
    limit_gib: float | None  # memory of one GPU; None: unknown

    @property
    def fits(self) -> bool | None:
        return None if self.limit_gib is None else self.parts.gib <= (1 - MARGIN) * self.limit_gib

    @property
    def resident_gib(self) -> float:
        """The part that does not depend on row length or micro-batch."""
        return self.parts.weights + self.parts.gradients + self.parts.optimiser

    @property
    def fits_no_row(self) -> bool:
        return self.limit_gib is not None and self.resident_gib > self.limit_gib

    @property
    def longest_fitting_row(self) -> int | None:
        """The longest row that fits, in tokens, since memory is linear in row length; None if the limit is unknown."""
        if self.limit_gib is None:
            return None
        room = (1 - MARGIN) * self.limit_gib - self.gib_without_rows
        return max(0, int(room / (self.parts.gib - self.gib_without_rows) * self.row_tokens))

    def remark(self) -> str:
        """A one-line summary."""
        shown = {each.name.replace("_", " "): getattr(self.parts, each.name) for each in fields(self.parts)}
        parts = ", ".join(f"{name} {value:.1f}" for name, value in shown.items())
        limit = f" of {self.limit_gib:g}" if self.limit_gib is not None else ""
        rows = f"rows up to {self.longest_fitting_row:,} tokens do" if self.longest_fitting_row else "no row does"
        verdict = {True: "fits", False: f"does not fit, {rows}", None: "not known what there is"}[self.fits]
        return (
            f"about {self.parts.gib:.0f}{limit} GiB per device with rows of {self.row_tokens:,} tokens: {verdict}"
            f" ({parts})"
        )


def memory(shape: DecoderShape, train: Train, machine: Machine, longest_row: int | None = None) -> Memory:
    """Estimate the memory of training on each device; `longest_row` in tokens, block_size if unknown."""
    row = train.block_size if longest_row is None else min(longest_row, train.block_size)
    parts, rowless = (_parts(shape, train, machine, length) for length in (row, 0))
    return Memory(row, parts, rowless.gib, machine.memory_gib)


def trained_parameters(shape: DecoderShape, train: Train) -> float:
    """The number of parameters with a gradient: all of them, or those of the adapters."""
    if train.lora is None:
        return shape.parameters
    return shape.layers * sum(train.lora.rank * (inputs + outputs) for inputs, outputs in _targets(shape, train.lora))


def layer_parameters(shape: DecoderShape) -> int:
    """Parameters of one layer: its matrices, the biases of query, key and value, two norms."""
    matrices = sum(inputs * outputs for inputs, outputs in linear_layers(shape).values())
    return matrices + (shape.heads + 2 * shape.kv_heads) * shape.head_size + 2 * shape.hidden_size


def linear_layers(shape: DecoderShape) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the matrices of one layer, by the names of transformers' Qwen2 and Llama."""
    hidden, inner = shape.hidden_size, shape.feed_forward_size
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    return {
        "q_proj": (hidden, queries),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (queries, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }


# ----------------------------------------------------------------------------------------------- in bytes


def _parts(shape: DecoderShape, train: Train, machine: Machine, row: int) -> Parts:
    tokens = row * min(machine.micro_batch, max(1, train.batch_size // machine.devices))
    w, b = _bytes("weights_dtype", train.weights_dtype), _bytes("dtype", train.dtype)
    trained = trained_parameters(shape, train) * (w if train.lora is None else ADAPTER_BYTES)
    return Parts(
        weights=_weights(shape, train, w) / machine.devices / GIB,
        gradients=trained / machine.devices / GIB,
        optimiser=2 * trained / machine.devices / GIB,
        working_copy=_working_copy(shape, train, machine.devices, w, b) / GIB,
        activations=_activations(shape, train, machine, w, b) * tokens / GIB,
        loss=(_head_gradient(shape, train) + (4 + b) * shape.hidden_size * tokens) / GIB,
        overhead=OVERHEAD_GIB if machine.device == "cuda" else 0.0,
    )


def _bytes(field: str, dtype: str) -> int:
    if dtype not in BYTES:
        raise ConfigError(f"train.{field} {dtype!r}: its size is unknown. Choose {' or '.join(BYTES)}.")
    return BYTES[dtype]


def _targets(shape: DecoderShape, lora: Lora) -> list[tuple[int, int]]:
    known = linear_layers(shape)
    unknown = [target for target in lora.targets if target not in known and target != ALL_LINEAR]
    if unknown:
        raise ConfigError(
            f"train.lora.targets {unknown}: unknown target modules. Choose from {', '.join((*known, ALL_LINEAR))}."
        )
    return [size for name, size in known.items() if name in lora.targets or ALL_LINEAR in lora.targets]


def _outside_layers(shape: DecoderShape) -> float:
    """Parameters of the embedding, the final norm and the head."""
    return shape.parameters - shape.layers * layer_parameters(shape)


def _weights(shape: DecoderShape, train: Train, w: int) -> float:
    layers = shape.layers * layer_parameters(shape) * (NF4_BYTES if train.method is TrainMethod.QLORA else w)
    adapters = 0.0 if train.lora is None else ADAPTER_BYTES * trained_parameters(shape, train)
    return layers + w * _outside_layers(shape) + adapters


def _working_copy(shape: DecoderShape, train: Train, devices: int, w: int, b: int) -> float:
    layer, outside = layer_parameters(shape), _outside_layers(shape)
    dequantised = b * layer if train.method is TrainMethod.QLORA else 0.0
    if devices == 1:
        return dequantised if w == b or train.method is TrainMethod.QLORA else b * shape.parameters
    gathered = 2 * layer * (NF4_BYTES if train.method is TrainMethod.QLORA else b) + b * outside
    gradients = 4 * (2 * layer + outside) if train.method is TrainMethod.FULL else 0.0
    return gathered + dequantised + gradients


def _activations(shape: DecoderShape, train: Train, machine: Machine, w: int, b: int) -> float:
    """Bytes per token."""
    stream = w if machine.devices == 1 else b
    hidden, inner = shape.hidden_size, shape.feed_forward_size
    attention = b * 2 * (shape.heads + shape.kv_heads) * shape.head_size
    kept = 2 * (4 + stream + b) * hidden + attention + 4 * b * inner
    if train.lora is not None:
        copies = b + (b + 1 if train.lora.dropout else 0)  # with dropout, also its mask
        kept += copies * sum(inputs for inputs, _ in _targets(shape, train.lora))
    backward = b * hidden + 3 * b * inner
    if machine.gradient_checkpointing:
        return shape.layers * stream * hidden + kept + backward
    return shape.layers * kept + backward


def _head_gradient(shape: DecoderShape, train: Train) -> float:
    return 4.0 * shape.vocabulary * shape.hidden_size if train.method is TrainMethod.FULL else 0.0


# ------------------------------------------------------------------------------------------------ a table


def table(
    shapes: Mapping[str, DecoderShape],
    recipes: Mapping[str, Train],
    machines: Mapping[str, Machine],
    blocks: Sequence[int],
) -> str:
    """A Markdown table of GiB per GPU for several row lengths; values that do not fit are struck out."""
    lines = [
        "| model | method | " + " | ".join(machines) + " |",
        "|---|---|" + "---:|" * len(machines),
    ]
    for model, shape in shapes.items():
        for method, recipe in recipes.items():
            cells = (_cell(shape, recipe, machine, blocks) for machine in machines.values())
            lines.append(f"| {model} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(shape: DecoderShape, recipe: Train, machine: Machine, blocks: Sequence[int]) -> str:
    needs = [memory(shape, replace(recipe, block_size=block), machine) for block in blocks]
    return " / ".join(f"{need.parts.gib:.0f}" if need.fits else f"~~{need.parts.gib:.0f}~~" for need in needs)
