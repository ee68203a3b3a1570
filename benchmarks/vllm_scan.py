"""A budget scan on vLLM, its controls and lm-eval: `S1_DATA_DIR=DIR python benchmarks/vllm_scan.py PART`.

SmolLM2-135M-Instruct in float32 on 30 AIME24 and 30 MATH-500 problems (DIR/aime24.jsonl, math500.jsonl). Parts:

    scan      six budgets and Wait x1, x2, x4: shared, each from scratch, the largest point alone; and lm-eval's own
              `hf` model looped over the six budgets, which generates from scratch and forces nothing
    dense     32 budgets beside six, up to the same largest: 256 tokens, as many as 32 answers of 8
    long      the same up to 1,024 tokens
    deep      thinking of up to 1,024 tokens and answers of 64: six budgets and Waits beside the largest alone, 32
              budgets beside six, each point from scratch, and lm-eval; with fewer problems
    driver    our loop over vLLM beside a bare `LLM.generate` of the same prompts and lengths, in turn, on one engine

Every part appends what it measured to results/benchmarks/vllm.json; `report` makes vllm.md and vllm.png of it. To try
a part: `--repeats 1 --questions 1 --results DIR`.
Run it in the environment that has vLLM (`make vllm`), on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from scan import PROJECT, answers, sweep

RESULTS = PROJECT / "results" / "benchmarks"
QUESTIONS = {"deep": 10}  # of each task
MANY_QUESTIONS = 30  # of each task, in all other parts
TASKS = ("aime24", "math500")
BUDGETS = (8, 16, 32, 64, 128, 256)
THREADS = 2
LARGEST = BUDGETS[-1]
SCAN = ["+experiment=smollm_scan"]  # the same six budgets, and Wait x1, x2, x4 within the largest
SIX = [*SCAN, f"budget.max_thinking_tokens={','.join(map(str, BUDGETS))}", "also=[]"]  # without Waits
LONG = [*SCAN, "also=[]", "model.context_tokens=2048", "budget.answer_tokens=8"]  # else some answers never end
# The model's own answers have 8 tokens. Without a stop that it writes, its answers have as many as the cap allows.
DEEP = [
    *(*SCAN, "model.context_tokens=2048", "budget.answer_tokens=64"),
    *('model.thinking_format.thinking_stops=["<|im_end|>"]', 'model.thinking_format.answer_stops=["<jupyter_start>"]'),
]
DEEP_BUDGETS = (8, 21, 56, 149, 394, 1024)
DEEP_SIX = f"budget.max_thinking_tokens={','.join(map(str, DEEP_BUDGETS))}"
DEEP_WAITS = "also=[" + ",".join(f"'budget.max_thinking_tokens=1024 budget.waits={waits}'" for waits in (1, 2, 4)) + "]"
CASES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "scan": {
        "shared": SCAN,
        "the largest alone": [*SCAN, f"budget.max_thinking_tokens={LARGEST}", "budget.waits=4", "also=[]"],
        "each from scratch": [*SCAN, "generate.share=false"],
    },
    "dense": {"six budgets": SIX, "32 budgets": [*SCAN, "also=[]", "budget.max_thinking_tokens=geomspace(8,256,32)"]},
    "long": {
        "six budgets": [*LONG, "budget.max_thinking_tokens=geomspace(8,1024,6)"],
        "32 budgets": [*LONG, "budget.max_thinking_tokens=geomspace(8,1024,32)"],
    },
    "deep": {
        "six budgets and Waits": [*DEEP, DEEP_SIX, DEEP_WAITS],
        "the largest alone": [*DEEP, "budget.max_thinking_tokens=1024", "budget.waits=4", "also=[]"],
        "six budgets": [*DEEP, DEEP_SIX, "also=[]"],
        "32 budgets": [*DEEP, "budget.max_thinking_tokens=geomspace(8,1024,32)", "also=[]"],
        "each from scratch": [*DEEP, DEEP_SIX, DEEP_WAITS, "generate.share=false"],
    },
}
ONCE = ("each from scratch", "lm-eval hf, six budgets")  # too long to repeat


@dataclass(frozen=True)
class Row:
    part: str
    case: str
    engine_tokens: int
    seconds: float  # of the process that loads the model and generates; for `driver`, of the generation alone
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    unavoidable_tokens: int | None = None  # what no engine could leave out (benchmarks/unavoidable.py)
    problems: int = 0  # of each task; this and the commit are set when the row is kept
    commit: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["scan", "dense", "long", "deep", "driver", "report"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--questions", type=int, help="of each task")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.part == "report":
        from vllm_report import write_report

        write_report(arguments.results)
        return
    with tempfile.TemporaryDirectory() as folder:
        questions = arguments.questions or QUESTIONS.get(arguments.part, MANY_QUESTIONS)
        data = first_rows(Path(os.environ["S1_DATA_DIR"]), Path(folder), questions)
        prepared = Path(folder) / "store"
        sweep([*SCAN, *common(data), "budget.max_thinking_tokens=1", "task.limit=1", "-m"], prepared)  # the model, once
        measure, commit = cases(arguments.part, data, prepared), commit_here()
        for repeat in range(arguments.repeats):
            for case, run in measure.items():
                if repeat == 0 or case not in ONCE:
                    keep(replace(run(), problems=questions, commit=commit), arguments.results)


def cases(part: str, data: Path, prepared: Path) -> Mapping[str, Callable[[], Row]]:
    """What a part measures, in turn."""
    if part == "driver":
        from vllm_driver import Driver

        driver = Driver(model_directory(prepared), data)
        return {
            "LLM.generate": partial(timed, "LLM.generate", driver.bare),
            "ours": partial(timed, "ours", driver.ours),
        }
    ours = {
        case: partial(scanned, part, case, [*common(data), *lines], prepared) for case, lines in CASES[part].items()
    }
    budgets = {"scan": BUDGETS, "deep": DEEP_BUDGETS}.get(part)
    if budgets is None:
        return ours
    return {**ours, "lm-eval hf, six budgets": partial(looped, part, budgets, model_directory(prepared), data)}


def commit_here() -> str:
    """The commit of the code, with a + if files differ from it."""
    described = ["git", "describe", "--always", "--abbrev=7", "--exclude=*", "--dirty=+"]
    return subprocess.run(described, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.strip()


def common(data: Path) -> list[str]:
    return [
        *("engine=vllm", f"task={','.join(TASKS)}", f"task.data_file={data}/${{task.name}}.jsonl"),
        *(f"machine.threads={THREADS}", "machine.workers=1", "machine.slots=64"),
    ]


def first_rows(source: Path, target: Path, questions: int) -> Path:
    for task in TASKS:
        lines = (source / f"{task}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (target / f"{task}.jsonl").write_text("".join(lines[:questions]), encoding="utf-8")
    return target


def model_directory(prepared: Path) -> Path:
    (directory,) = prepared.glob("base_model/*/out")
    return directory


def scanned(part: str, case: str, overrides: Sequence[str], prepared: Path) -> Row:
    """One run of the command, with the model at hand and nothing generated."""
    measured = answers(overrides, prepared)
    cache = (measured.prompt_tokens, measured.cached_tokens)
    return Row(part, case, measured.engine_tokens, measured.seconds, *cache, measured.unavoidable_tokens)


def timed(case: str, run: Callable[[], int]) -> Row:
    start = time.perf_counter()
    tokens = run()
    return Row("driver", case, tokens, time.perf_counter() - start)


def looped(part: str, budgets: Sequence[int], model: Path, data: Path) -> Row:
    """lm-eval's `hf` model over our two tasks, once for each budget; tokens are those of the texts it returns."""
    import torch
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    torch.set_num_threads(THREADS)
    start = time.perf_counter()
    make_peer: Any = HFLM  # a decorator of lm-eval hides its parameters
    peer = make_peer(pretrained=str(model), dtype="float32", device="cpu", batch_size=MANY_QUESTIONS)
    tokens = 0
    for task in TASKS:
        include = PROJECT / "s1" / "evaluate" / "tasks"
        tasks = TaskManager(
            include_path=include, include_defaults=False, metadata={"data_file": f"{data}/{task}.jsonl"}
        )
        for budget_tokens in budgets:
            found = simple_evaluate(
                model=peer,
                tasks=[task],
                task_manager=tasks,
                gen_kwargs=f"max_gen_toks={budget_tokens},do_sample=false",
                apply_chat_template=True,
                bootstrap_iters=0,
            )
            assert found is not None and "samples" in found
            texts = [text for sample in found["samples"][task] for text in sample["resps"][0]]
            tokens += sum(len(peer.tok_encode(text, add_special_tokens=False)) for text in texts)
    return Row(part, "lm-eval hf, six budgets", tokens, time.perf_counter() - start)


def keep(row: Row, results: Path) -> None:
    """Append to what was measured before, so that parts can be run one by one."""
    path = results / "vllm.json"
    rows = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    aside = path.with_suffix(".aside")
    aside.write_text(json.dumps([*rows, asdict(row)], indent=1) + "\n", encoding="utf-8")
    shutil.move(aside, path)
    print(row, flush=True)


if __name__ == "__main__":
    main()
