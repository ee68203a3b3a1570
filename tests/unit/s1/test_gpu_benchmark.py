"""The benchmark of `make gpu` at toy size on a CPU, so that it runs when a GPU is at hand."""

from __future__ import annotations

from benchmarks import gpu


def test_a_toy_is_trained_stopped_and_resumed_by_the_benchmark_for_gpus() -> None:
    case = gpu.TOY_CASES[0]
    measured = gpu.measure(case, "cpu", resumes=True)
    assert measured.resumed_step == gpu.WARM_STEPS
    assert measured.tokens_per_second > 0
    line = gpu.page([(case, measured)], "cpu", "torch 2").splitlines()[-1]
    assert line.startswith("| CPU | toy | full | 64 |")
    assert line.endswith("| - / 0.0 | - / 0.0 | - / 0.0 | - | 2 |")


def test_adapters_train_there_too() -> None:
    assert gpu.measure(gpu.TOY_CASES[1], "cpu", resumes=False).parameters > 6800  # of the base model, and adapters


def test_random_weights_have_the_sizes_that_the_estimates_assume() -> None:
    """Counted without memory, as what is estimated for one shape must not be measured on another."""
    import torch

    for case in gpu.CASES:
        if case.row_tokens == 4096 and case.recipe.lora is None:
            with torch.device("meta"):
                model = gpu.random_qwen2(case, "meta")
            assert sum(parameter.numel() for parameter in model.parameters()) == case.shape.parameters


def test_a_case_without_enough_memory_says_so_beside_the_estimate() -> None:
    line = gpu.row(gpu.CASES[5], None, "cuda")
    assert line.startswith("|  | 3b | full | 16,384 | out of memory |")
