"""Fine-tuning on one GPU, measured beside what the plan estimates: `python benchmarks/gpu.py`, or `make gpu`.

Random weights in the shapes of Qwen2.5 (0.5B, 1.5B and 3B in full, 7B with adapters) train on rows of 4,096 and 16,384
random tokens with our stage's own trainer, as machine=h100 does: one row per forward pass, bfloat16, gradient
checkpointing. Needs no network. Each case runs in a process of its own, so that none starts with the memory of another.
The smallest case is also stopped, which saves a checkpoint, and resumed. Writes results/benchmarks/gpu.md.

    python benchmarks/gpu.py --device cpu --toy      a model of a few thousand weights, to see that it runs; prints only
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import yaml

from s1.config.resources import Machine
from s1.config.schema import DecoderShape, Lora, Overlong, Train, TrainMethod
from s1.records import TokenRow
from s1.train.flops import training_flops
from s1.train.memory import GIB, memory

PROJECT = Path(__file__).resolve().parents[1]
TARGET = PROJECT / "results" / "benchmarks" / "gpu.md"
WARM_STEPS, STEPS, BATCH = 2, 6, 2  # steps not timed, all steps, rows of a step
PEAK_TFLOPS = 989  # of an H100, dense, bfloat16
FULL = Train(
    method=TrainMethod.FULL, epochs=None, steps=STEPS, batch_size=BATCH, learning_rate=1e-5, warmup_share=0.05,
    scheduler="cosine", adam_beta1=0.9, adam_beta2=0.95, weight_decay=1e-4, max_grad_norm=1.0, block_size=16384,
    overlong=Overlong.REFUSE, length_window=1, dtype="bfloat16", weights_dtype="float32",
)  # fmt: skip
ADAPTERS = replace(FULL, method=TrainMethod.LORA, lora=Lora(32, 32, 0.0, ["all-linear"]), weights_dtype="bfloat16")
TOY = DecoderShape(9_000, 2, 16, 2, 1, 32, 128, head_size=8)
SETTINGS = {"micro_batch": 1, "gradient_checkpointing": True, "padding_free": True, "checkpoint_every_minutes": None}


@dataclass(frozen=True)
class Case:
    size: str  # of conf/model/qwen2_5_SIZE.yaml, or toy
    method: TrainMethod
    row_tokens: int

    @property
    def shape(self) -> DecoderShape:
        if self.size == "toy":
            return TOY
        text = (PROJECT / "conf" / "model" / f"qwen2_5_{self.size}.yaml").read_text(encoding="utf-8")
        return DecoderShape(**yaml.safe_load(text)["shape"])

    @property
    def recipe(self) -> Train:
        return FULL if self.method is TrainMethod.FULL else ADAPTERS


@dataclass(frozen=True)
class Measured:
    """GiB and seconds; GiB are None on a CPU."""

    device: str
    parameters: int
    tokens_per_second: float
    weights_gib: float | None  # allocated once the model is on the device
    resident_gib: float | None  # allocated after the last step: weights and optimizer state
    peak_gib: float | None  # most ever allocated
    reserved_gib: float | None  # most ever held by PyTorch, fragmentation included
    resumed_step: int | None  # where the second run went on; None: not tried


CASES = [
    Case(size, TrainMethod.LORA if size == "7b" else TrainMethod.FULL, row_tokens)
    for size in ("0_5b", "1_5b", "3b", "7b")
    for row_tokens in (4096, 16384)
]
TOY_CASES = [Case("toy", method, 64) for method in (TrainMethod.FULL, TrainMethod.LORA)]


def machine_of(device: Any) -> Machine:
    """The machine whose memory the plan would estimate."""
    named = yaml.safe_load((PROJECT / "conf" / "machine" / "h100.yaml").read_text(encoding="utf-8"))
    del named["defaults"]
    return Machine(**{**named, "device": device})


def measure(case: Case, device: str, resumes: bool) -> Measured:
    """Train a few steps in this process; if asked, stop another run and resume it."""
    import torch

    on_gpu = device == "cuda"
    model = random_qwen2(case, device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    weights = torch.cuda.memory_allocated()  # 0 without a GPU
    with tempfile.TemporaryDirectory() as folder:
        ends = train(model, case, device, Path(folder))
        timed = (STEPS - WARM_STEPS) * BATCH * case.row_tokens
        resident, peak = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
        reserved = torch.cuda.max_memory_reserved()
        resumed = resume_step(model, case, device, Path(folder)) if resumes else None
    return Measured(
        torch.cuda.get_device_name() if on_gpu else "CPU",
        parameters,
        timed / (ends[-1] - ends[WARM_STEPS - 1]),
        weights_gib=weights / GIB if on_gpu else None,
        resident_gib=resident / GIB if on_gpu else None,
        peak_gib=peak / GIB if on_gpu else None,
        reserved_gib=reserved / GIB if on_gpu else None,
        resumed_step=resumed,
    )


def random_qwen2(case: Case, device: str) -> Any:
    """A Qwen2 of this shape with random weights, made on the device, with adapters if the recipe has them."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    shape = case.shape
    config = Qwen2Config(
        vocab_size=shape.vocabulary, hidden_size=shape.hidden_size, intermediate_size=shape.feed_forward_size,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        max_position_embeddings=32768, tie_word_embeddings=case.size != "7b", eos_token_id=2, pad_token_id=2,
        dtype=getattr(torch, case.recipe.weights_dtype),
    )  # fmt: skip
    torch.manual_seed(0)
    torch.set_default_dtype(getattr(torch, case.recipe.weights_dtype))
    with torch.device(device):
        model = Qwen2ForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    lora = case.recipe.lora
    if lora is None:
        return model
    return get_peft_model(model, LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear"))


def rows_of(case: Case) -> list[TokenRow]:
    random = Random(0)
    count = STEPS * BATCH
    ids = [[random.randrange(3, 120) for _ in range(case.row_tokens)] for _ in range(count)]
    return [TokenRow(f"row-{number}", each, case.row_tokens // 8) for number, each in enumerate(ids)]


def trainer_for(
    model: Any, case: Case, device: str, folder: Path, ends: list[float], stops_after: int | None = None
) -> Any:
    """Our stage's trainer. It notes when each step ended; after `stops_after` steps it is asked to stop."""
    from s1.models.location import CHAT_PIECES, piece_tokenizer
    from s1.train.trainer import TrainerHooks, arguments_of, trainer_of

    clock = lambda *_progress: ends.append(synchronised(device))  # noqa: E731
    hooks = TrainerHooks(STEPS, folder, clock, lambda: len(ends) == stops_after, None)
    settings = {**SETTINGS, "device": device, "checkpoint_every_steps": 10**6}
    arguments = arguments_of(case.recipe, hooks, settings, 1)
    if stops_after is None:
        arguments.save_strategy = "no"
    return trainer_of(model, piece_tokenizer(CHAT_PIECES), arguments, rows_of(case), range(STEPS * BATCH), hooks)


def synchronised(device: str) -> float:
    """The time when the device has done all it was given."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def train(model: Any, case: Case, device: str, folder: Path) -> list[float]:
    """Train, and return when each step ended."""
    ends: list[float] = []
    trainer_for(model, case, device, folder, ends).train()
    return ends


def resume_step(model: Any, case: Case, device: str, folder: Path) -> int:
    """Stop a run after two steps; return the step from which another run took it to its end."""
    from s1.train.checkpoints import newest_intact

    trainer_for(model, case, device, folder, [], stops_after=WARM_STEPS).train()
    resume, ends = newest_intact(folder, {}), []
    trainer = trainer_for(random_qwen2(case, device), case, device, folder, ends)
    trainer.train(resume_from_checkpoint=str(resume.checkpoint))
    if resume.step != WARM_STEPS or len(ends) != STEPS - WARM_STEPS:
        raise SystemExit(f"resumed at step {resume.step} for {len(ends)} steps, not at step {WARM_STEPS}.")
    return resume.step


# ------------------------------------------------------------------------------------------------ the page


def page(measured: Iterable[tuple[Case, Measured | None]], device: Any, versions: str) -> str:
    """The page as Markdown; None: the case did not fit in memory."""
    lines = [
        "# Fine-tuning on one GPU",
        "",
        "`python benchmarks/gpu.py`",
        "",
        f"{versions}. {STEPS} steps of {BATCH} rows, one row per forward pass; the first {WARM_STEPS} are not timed.",
        f"MFU is of {PEAK_TFLOPS} TFLOP/s. Memory is in GiB, measured / estimated by s1/train/memory.py. Resident is",
        "what stays after a step: weights and optimizer state. `held` is what PyTorch held, fragments included.",
        "The estimate beside the peak includes the CUDA context, which PyTorch does not count.",
        "",
        "| card | model | method | row | tokens/s | MFU | weights | resident | peak | held | resumed at step |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(row(case, each, device) for case, each in measured),
    ]
    return "\n".join(lines) + "\n"


def row(case: Case, measured: Measured | None, device: Any) -> str:
    need = memory(case.shape, replace(case.recipe, batch_size=BATCH), machine_of(device), case.row_tokens)
    name = f"{case.size.replace('_', '.')} | {case.method.value} | {case.row_tokens:,}"
    if measured is None:
        return f"|  | {name} | out of memory |  |  |  | - / {need.parts.gib:.1f} |  |  |"
    rate = measured.tokens_per_second
    flops = training_flops(case.shape, case.method, True, 1, case.row_tokens) * rate
    mfu = f"{flops / (PEAK_TFLOPS * 1e12):.1%}" if device == "cuda" else "-"
    pairs = (
        (measured.weights_gib, need.parts.weights),
        (measured.resident_gib, need.parts.weights + need.parts.optimiser),
        (measured.peak_gib, need.parts.gib),
    )
    cells = " | ".join(f"{shown(here)} / {estimated:.1f}" for here, estimated in pairs)
    resumed = "" if measured.resumed_step is None else measured.resumed_step
    return (
        f"| {measured.device} | {name} | {rate:,.0f} | {mfu} | {cells} | {shown(measured.reserved_gib)} | {resumed} |"
    )


def shown(gib: float | None) -> str:
    return "-" if gib is None else f"{gib:.1f}"


def in_a_process(number: int, arguments: argparse.Namespace) -> Measured | None:
    """Measure one case in a process of its own; None if the GPU had too little memory."""
    command = [sys.executable, __file__, "--device", arguments.device, "--case", str(number)]
    done = subprocess.run([*command, *(["--toy"] if arguments.toy else [])], capture_output=True, text=True)
    if done.returncode and "OutOfMemoryError" in done.stderr:
        return None
    if done.returncode:
        raise SystemExit(done.stderr)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--toy", action="store_true", help="tiny models; prints, writes nothing")
    parser.add_argument("--case", type=int, help="measure one case and print it as JSON")
    arguments = parser.parse_args()
    import torch
    import transformers

    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: no CUDA device here. Run it on a GPU, or try --device cpu --toy.")
    cases = TOY_CASES if arguments.toy else CASES
    if arguments.case is not None:
        measured = measure(cases[arguments.case], arguments.device, resumes=arguments.case == 0)
        print(json.dumps(dataclasses.asdict(measured)))
        return
    results = []
    for number, case in enumerate(cases):
        measured = in_a_process(number, arguments)
        results.append((case, measured))
        print(row(case, measured, arguments.device), flush=True)
    if not arguments.toy:
        versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
        TARGET.write_text(page(results, arguments.device, versions), encoding="utf-8")


if __name__ == "__main__":
    main()
