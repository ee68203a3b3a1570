"""Each table and figure of the paper is one command, on the laptop and at the paper's size."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from s1 import pipeline
from s1.config.schema import Forcing
from sweep.cli.main import perform
from sweep.config.compose import CONFIG, compose
from sweep.console import Console
from sweep.core.stage import Stage
from sweep.plan.graph import plan

PAPER = sorted(path.stem for path in (CONFIG / "experiment" / "paper").glob("*.yaml"))
SCALES = sorted(path.stem for path in (CONFIG / "scale").glob("*.yaml"))


def stages_of(name: str, *overrides: str) -> list[Stage]:
    composed = compose([f"+experiment=paper/{name}", *overrides, "-m"])
    graph = pipeline.graph(composed.points, composed.request)
    return list(plan([graph.artifact], lambda stage: False).needed)


def test_every_table_and_figure_of_the_paper_has_its_experiment() -> None:
    assert [
        *("fig1_scaling", "fig4b_parallel", "fig6_rejection", "fig7_rebase", "raspberry"),
        *("table1_main", "table2_data_ablation", "table3_control", "table4_wait_strings", "table5_s1_1"),
        *("table8_train_length", "tables11_13_conditional"),
    ] == PAPER
    assert SCALES == ["h100", "laptop"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_a_dry_run_at_the_papers_size_writes_every_batch_script(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Planning refuses a published row without a point; tests/integration/test_paper_runs.py runs the laptop."""
    places = [f"store={tmp_path}/store", f"results={tmp_path}/results"]
    command = [f"+experiment=paper/{name}", "scale=h100", "launch.dry_run=true", "yes=true", *places, "-m"]
    assert perform(command, Console()) == 0
    scripts = list((tmp_path / "store" / "submissions").rglob("*.sbatch"))
    assert any("--gres=gpu" in script.read_text() for script in scripts), capsys.readouterr().out
    composed = compose([f"+experiment=paper/{name}", "scale=h100", "-m"])
    assert {(point.engine.kind.value, point.engine.dtype) for point in composed.points} == {("vllm", "float32")}
    assert all(point.paper is not None for point in composed.points) or name == "raspberry"
    estimates = pipeline.graph(composed.points, composed.request).estimates.values()
    assert sum(each.tokens or 0 for each in estimates) > 0
    assert sum(each.usd or 0 for each in estimates) > 0


def test_forced_and_unforced_control_share_one_checkpoint() -> None:
    """Table 3 needs four models: none is trained twice because its thinking is also cut."""
    stages = stages_of("table3_control")
    assert Counter(stage.label for stage in stages if stage.name == "checkpoint") == {
        "laptop on dial_1k": 1,
        "laptop on dial_tokens": 1,
        "laptop on dial_steps": 1,
        "laptop on dial_class": 1,
    }


def test_a_requested_amount_is_forced_together_with_it() -> None:
    points = compose(["+experiment=paper/tables11_13_conditional", "-m"]).points
    forced = [point for point in points if point.budget.max_thinking_tokens is not None]
    assert {point.task.instruction for point in forced} == {
        f"Think for up to {point.budget.max_thinking_tokens} tokens." for point in forced
    }
    assert len(forced) == 5


def test_the_scan_for_a_real_model_has_the_points_that_its_page_lists() -> None:
    points = compose(["+experiment=s1_scan", "-m"]).points
    assert Counter(point.task.name for point in points) == dict.fromkeys(
        ("aime24", "aime25", "math500", "gpqa_diamond"), 12
    )
    of_one = [point.budget for point in points if point.task.name == "aime24"]
    plain = [budget for budget in of_one if budget.forcing is Forcing.NONE]
    maxima = sorted(budget.max_thinking_tokens for budget in of_one if budget.max_thinking_tokens is not None)
    assert (len(plain), maxima) == (1, [512, 1024, 2048, 4096, 8192, 16384])
    assert sorted(budget.waits for budget in of_one if budget.max_thinking_tokens is None) == [0, 0, 1, 2, 4, 6]


def test_a_sampled_scan_takes_as_many_samples_as_its_task_asks_for() -> None:
    points = compose(["+experiment=s1_scan_sampled", "-m"]).points
    assert {(point.task.name, point.generate.samples) for point in points} == {
        *(("aime24", 16), ("aime25", 16), ("math500", 4), ("gpqa_diamond", 8)),
    }
    (point,) = compose(["generate=sampled", "generate.samples=3"]).points
    assert point.generate.samples == 3


def test_a_scan_with_the_toys_budgets_names_the_one_for_real_models() -> None:
    composed = compose(["+experiment=budget_scan", "model=qwen3_8b", "data=none", "-m"])
    (note,) = [
        line for line in pipeline.graph(composed.points, composed.request).notes if not line.startswith("estimate of")
    ]
    assert note.startswith("budget.max_thinking_tokens 8 to 40: such budgets suit the laptop model")
    assert "Choose +experiment=s1_scan, with budgets of 512 to 16,384 tokens." in note
    real = compose(["+experiment=s1_scan", "model=qwen3_8b", "task=aime24", "-m"])
    assert not any("budgets suit" in line for line in pipeline.graph(real.points, real.request).notes)
