"""Checks of a node that need torch, an engine or the hub's cache."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing

from s1.config.schema import ConfigError
from s1.generate.engine import GenerationRequest, Sampling
from s1.generate.engines import installed, open_engine
from s1.hub.datasets import DATASET_FILES
from s1.hub.files import first_line, snapshot
from s1.hub.pins import RepoKind, name_of
from s1.models.location import Location, model_snapshot, tokenizer_at
from s1.preflight.config import EngineNeed, Needs
from s1.preflight.group import TorchGroup
from sweep.preflight.check import Check, failed, passed, skipped

GIB = 2**30
MEMORY_TOLERANCE = 0.12  # a card of 80 GB has 79.1 GiB, and a driver takes some of it
REDUCED_MIB = (1, 64)
CPU_REDUCED_MIB = (1, 8)
ROUNDS = 5
WRITTEN_TOKENS = 32
PROMPT = "Add 2 and 3."


def check_devices(needs: Needs) -> Check:
    """Number, name and memory of the GPUs that this process sees."""
    name = "devices"
    if needs.device != "cuda" or not needs.gpus:
        return passed(name, f"CPU only, {len(os.sched_getaffinity(0))} cores for this job")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count != needs.gpus:
        advice = "Check launch.gpu_type, the driver (nvidia-smi) and that torch is built for CUDA."
        return failed(name, f"{count} GPUs visible, {needs.gpus} expected on each node", advice)
    found = [torch.cuda.get_device_properties(index) for index in range(count)]
    gib = [each.total_memory / GIB for each in found]
    measured = f"{count} x {found[0].name}, {min(gib):.0f} GiB each"
    if len({each.name for each in found}) > 1:
        return failed(name, ", ".join(each.name for each in found), "Request nodes of one kind: launch.gpu_type.")
    if needs.memory_gib is not None and min(gib) < (1 - MEMORY_TOLERANCE) * needs.memory_gib:
        advice = f"The machine says {needs.memory_gib:g} GiB. Choose the machine of this card, or launch.gpu_type."
        return failed(name, measured, advice)
    return passed(name, measured)


def check_all_reduce(needs: Needs, group: TorchGroup) -> Check:
    """Sum a tensor over all ranks, check the sum, and measure the bandwidth of the largest one."""
    name = "all-reduce"
    if group.size == 1:
        return skipped(name, "one process")
    import torch

    device = torch.device("cuda", group.local_rank) if needs.device == "cuda" else torch.device("cpu")
    measured: list[str] = []
    for mib in REDUCED_MIB if needs.device == "cuda" else CPU_REDUCED_MIB:
        values = torch.empty(mib * 2**20 // 4, dtype=torch.float32, device=device)
        best_s = float("inf")
        for _ in range(ROUNDS):
            values.fill_(group.rank + 1)
            group.gathered(None)
            before = time.perf_counter()
            group.reduce(values)
            if needs.device == "cuda":
                torch.cuda.synchronize(device)
            best_s = min(best_s, time.perf_counter() - before)
        wanted = group.size * (group.size + 1) / 2
        if not bool((values == wanted).all()):
            advice = "Ask the site: the network corrupts data, or NCCL is broken (NCCL_DEBUG=INFO in slurm/site.sh)."
            return failed(name, f"the sum over {group.size} ranks of {mib} MiB is wrong", advice)
        sent = 2 * (group.size - 1) / group.size * mib * 2**20  # bytes that each rank sends
        measured.append(f"{mib} MiB at {sent / best_s / 1e9:.2f} GB/s")
    return passed(name, f"{group.size} ranks, {group.backend}: {', '.join(measured)} per rank")


def check_engine(need: EngineNeed, model: Location) -> Check:
    """Load the engine with the model as generation does, and let it write tokens."""
    name = f"engine ({need.engine.kind.value})"
    before = time.monotonic()
    try:
        tokenizer = tokenizer_at(model)
        prompt = tuple(tokenizer.encode(PROMPT, add_special_tokens=False))
        settings = {**need.settings, "context_tokens": need.context_tokens}
        with closing(open_engine(model, need.engine, settings)) as engine:
            loaded_s = time.monotonic() - before
            engine.add(GenerationRequest(prompt, WRITTEN_TOKENS, (), False, Sampling(0.0), 0))
            written = 0
            while not engine.is_idle:
                written += sum(len(delta.ids) for delta in engine.step())
    except Exception as error:  # whatever an engine raises is the result of the check
        versions = ", ".join(f"{library} {here}" for library, here in installed(need.engine.kind).items())
        advice = f"Fix it, or choose another engine or machine ({versions}; docs/engines.md). The log has the rest."
        return failed(name, f"{need.model_name}: {first_line(error)}", advice)
    return passed(name, f"{need.model_name} loaded in {loaded_s:.0f} s, wrote {written} tokens")


def check_hub(models: Sequence[tuple[str, str | None]], datasets: Sequence[tuple[str, str | None]]) -> Check:
    """Whether every model and dataset of the plan is complete in the cache, without a network."""
    name = "hub cache"
    if not models and not datasets:
        return skipped(name, "the plan reads nothing from the hub")
    try:
        for repo, revision in models:
            model_snapshot(repo, revision)
        for repo, revision in datasets:
            snapshot("dataset", name_of(RepoKind.DATASET, repo, revision), DATASET_FILES)
    except ConfigError as error:
        advice = "Put HF_HOME on a file system that all nodes see, and run `python -m sweep prefetch` again."
        return failed(name, str(error), advice)
    return passed(name, f"{len(models)} models and {len(datasets)} datasets are readable offline")
