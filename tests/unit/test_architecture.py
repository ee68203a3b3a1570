"""The structure: who may import whom, one doorway per heavy library, small files and functions, a docstring for each.

Each test reads all files and names every violation in its one failure.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*PROJECT.glob("sweep/**/*.py"), *PROJECT.glob("s1/**/*.py")])
TESTS = sorted(PROJECT.glob("tests/**/*.py"))
MAX_SOURCE_LINES, MAX_TEST_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 500, 400, 50, 6

DOORWAYS = {
    "hydra": [
        "sweep.config.compose",
        "sweep.config.own_conf",
        "sweep.config.messages",
        "sweep.config.overrides",
        "sweep.config.extra_points",
        "sweep.config.escapes",
        "sweep.config.recorded_command",
        "sweep.config.machine_of",
    ],
    "omegaconf": ["sweep.config.compose", "sweep.config.interpolation", "sweep.config.interpolation"],
    "pydantic": ["sweep.core.typed"],
    "rich": [
        "sweep.console",  # what all others print to
        *("sweep.local.show", "sweep.cli.store", "sweep.cli.show_slurm", "sweep.cli.results"),
        *("sweep.cli.watch_screen", "sweep.cli.show"),
    ],
    "subprocess": [
        "sweep.plan.code_changes",
        "sweep.local.workers",
        "sweep.slurm.client",
        "sweep.worker.ranks",
        "sweep.claims.slurm_job",
        "sweep.worker.stall",
        "sweep.worker.machine",
        "sweep.local.watcher",
        "sweep.core.provenance",
    ],
    "psutil": ["sweep.worker.processes"],
    "trl": ["s1.train.trainer"],
    "peft": ["s1.train.weights"],
    "lm_eval": ["s1.evaluate.replay"],
    "math_verify": ["s1.evaluate.grading.opinion"],
    "sympy": ["s1.evaluate.grading.expressions", "s1.evaluate.grading.regions"],
    "wandb": ["s1.track.runs", "s1.track.charts", "s1.track.lineage", "s1.track.wandb_report"],
    "matplotlib": [
        "s1.plots.canvas",
        "s1.report.figures",
        "s1.report.figures_samples",
        "s1.report.figures_settling",
        "s1.report.figures_frontier",
        "s1.report.funnel",
        "s1.plots.lengths",
        "s1.report.training",
    ],
    "jinja2": [
        "s1.models.thinking_format",
        "s1.models.light_tokenizer",
        "s1.report.render",
        "s1.evaluate.replay",
    ],  # there its errors alone, which lm-eval lets through
    "vllm": ["s1.generate.vllm_engine"],
    "pandas": ["s1.api"],
    "openai": ["s1.data.chat_client"],
    "huggingface_hub": ["s1.hub.files"],
}

# What must not be imported before a worker starts.
HEAVY = {
    *("torch", "transformers", "trl", "accelerate", "datasets", "lm_eval", "wandb", "matplotlib", "vllm", "openai"),
    *("pandas", "numpy", "scipy", "huggingface_hub"),
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Every module a file imports, also inside functions; `from s1 import cost` is s1.cost."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            if (PROJECT / node.module.replace(".", "/")).is_dir():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


def violations_of(rule: Callable[[Path], Iterator[str]], paths: Sequence[Path]) -> str:
    """Every violation of a rule, a line each; empty if it holds everywhere."""
    return "\n".join(f"{path.relative_to(PROJECT)}: {each}" for path in paths for each in rule(path))


def test_imports_go_one_way_between_folders_and_files() -> None:
    """The contracts are in pyproject.toml under tool.importlinter; `lint-imports` prints each broken chain."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_heavy_library_has_one_doorway() -> None:
    def rule(path: Path) -> Iterator[str]:
        for library in {imported.partition(".")[0] for imported in imports_of(path)} & DOORWAYS.keys():
            if module_of(path) not in DOORWAYS[library]:
                yield f"imports {library}. Use what {', '.join(DOORWAYS[library])} offers"

    assert not (found := violations_of(rule, SOURCES)), found


def test_planning_imports_nothing_heavy() -> None:
    """A login node or a cached rerun must not wait for torch."""
    code = "import sys, sweep.cli.main, sweep.cli.completion, sweep.cli.run, s1.pipeline;"
    code += "print(sorted(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    found = set(ast.literal_eval(done.stdout)) & HEAVY
    assert not found, f"planning imports {sorted(found)}"


def test_files_and_functions_are_small_and_documented() -> None:
    assert not (found := violations_of(_size_and_docstrings, SOURCES)), found
    assert not (found := violations_of(_length_of_tests, TESTS)), found


def _size_and_docstrings(path: Path) -> Iterator[str]:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    if len(source.splitlines()) > MAX_SOURCE_LINES:
        yield f"more than {MAX_SOURCE_LINES} lines: two ideas in one file"
    if not source.isascii() and path.name != "identity.py":
        yield "not ASCII"
    if source and not ast.get_docstring(tree):
        yield "the module has no docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            if lines_of(node) > MAX_FUNCTION_LINES:
                yield f"{node.name} is longer than {MAX_FUNCTION_LINES} lines"
            parameters = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            if len([each for each in parameters if each.arg != "self"]) > MAX_PARAMETERS:
                yield f"{node.name} has more than {MAX_PARAMETERS} parameters"
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or node.name == "main":
            continue
        if not ast.get_docstring(node) and lines_of(node) > 6:
            yield f"{node.name} has no docstring"


def _length_of_tests(path: Path) -> Iterator[str]:
    if len(path.read_text(encoding="utf-8").splitlines()) > MAX_TEST_LINES:
        yield f"more than {MAX_TEST_LINES} lines. Split it by idea"


def lines_of(node: ast.FunctionDef) -> int:
    return (node.end_lineno or 0) - node.lineno + 1
