"""The structure, read from the imports: who may know whom, one doorway per heavy library, small files and functions."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = sorted([*PROJECT.glob("sweep/**/*.py"), *PROJECT.glob("s1/**/*.py")])

# Pure -> files -> adapters -> composition -> entry; a module imports its own rank or lower. First match counts.
RANKS = (
    ("sweep.errors", 0),
    ("sweep.identity", 0),
    ("sweep.stage", 0),
    ("sweep.contract", 0),
    ("sweep.plan", 0),
    ("sweep.typed", 0),
    ("sweep.ranges", 0),
    ("sweep.complaints", 0),
    ("sweep.printable", 0),
    ("sweep.key_text", 0),
    ("sweep.secrets", 1),
    ("sweep.targets", 1),
    ("sweep.console", 2),
    ("sweep.resolvers", 2),
    ("sweep.holdings", 0),
    ("sweep.syntax", 0),
    ("sweep.source", 0),
    ("sweep.file_answers", 0),
    ("sweep.source_memo", 0),
    ("sweep.json_files", 0),  # knows nobody
    ("sweep.failure", 1),
    ("sweep.generations", 1),
    ("sweep.checksums", 1),
    ("sweep.lock", 1),
    ("sweep.file_system", 0),
    ("sweep.probe", 2),
    ("sweep.holder", 1),
    ("sweep.job_fate", 1),
    ("sweep.claim", 1),
    ("sweep.held", 1),
    ("sweep.permission", 1),
    ("sweep.processes", 1),
    ("sweep.attempt_logs", 1),
    ("sweep.stall", 2),
    ("sweep.interrupt", 1),
    ("sweep.spacing", 0),
    ("sweep.store", 1),
    ("sweep.attempt", 1),
    ("sweep.provenance", 1),
    ("sweep.group", 2),
    ("sweep.record", 1),
    ("sweep.run", 2),
    ("sweep.launch.chains", 0),
    ("sweep.launch.slurm_jobs", 0),
    ("sweep.launch.slurm_text", 0),
    ("sweep.launch.slurm_state", 0),
    ("sweep.launch.slurm_options", 0),
    ("sweep.launch.by_script", 0),
    ("sweep.launch.patience", 1),
    ("sweep.launch.ownership", 1),
    ("sweep.launch.submission", 1),
    ("sweep.launch.*", 2),
    ("sweep.abandoned", 1),
    ("sweep.result", 1),
    ("sweep.roots", 1),
    ("sweep.publish", 2),
    ("sweep.copying", 2),
    ("sweep.show_results", 2),
    ("sweep.results", 3),
    ("sweep.planning", 2),
    ("sweep.code_changes", 2),
    ("sweep.show", 2),
    ("sweep.show_store", 2),
    ("sweep.show_slurm", 2),
    ("sweep.overrides", 2),
    ("sweep.escapes", 1),
    ("sweep.recorded", 2),
    ("sweep.beside", 2),
    ("sweep.resolving", 2),
    ("sweep.compose", 2),
    ("sweep.inventory", 2),
    ("sweep.check", 2),
    ("sweep.prune", 2),
    ("sweep.housekeeping", 3),
    ("sweep.carry_out", 3),
    ("sweep.by_hand", 3),
    ("sweep.queueing", 3),
    ("sweep.__main__", 4),
    ("s1.config", 0),
    ("s1.cells", 0),
    ("s1.recipe", 0),
    ("s1.pins", 1),
    ("s1.hashing", 1),
    ("s1.lines", 1),
    ("s1.hub", 2),
    ("s1.impossible", 0),
    ("s1.resources", 0),
    ("s1.experiment", 0),
    ("s1.own_model", 0),
    ("s1.stages", 0),
    ("s1.records", 0),
    ("s1.dialect", 0),
    ("s1.cost", 0),
    ("s1.stats.*", 0),
    ("s1.data.dial", 0),
    ("s1.data.columns", 0),
    ("s1.data.decontaminate", 0),
    ("s1.data.quality", 0),
    ("s1.data.select", 0),
    ("s1.data.conditional", 0),
    ("s1.data.replies", 0),
    ("s1.data.journal", 1),
    ("s1.data.funnel", 1),
    ("s1.train.audit", 0),
    ("s1.train.memory", 0),
    ("s1.train.flops", 0),
    ("s1.train.order", 0),
    ("s1.train.limits", 0),
    ("s1.train.checkpoints", 1),
    ("s1.train.model_files", 1),
    ("s1.evaluate.graders", 0),
    ("s1.evaluate.grading.reading", 0),
    ("s1.evaluate.grading.phrases", 0),
    ("s1.evaluate.grading.notation", 0),
    ("s1.evaluate.grading.units", 0),
    ("s1.evaluate.grading.letters", 0),
    ("s1.evaluate.grading.answers", 0),
    ("s1.evaluate.grading.formula", 0),
    ("s1.evaluate.grading.tokens", 0),
    ("s1.evaluate.grading.atoms", 0),
    ("s1.evaluate.grading.parsing", 0),
    ("s1.evaluate.grading.arithmetic", 0),
    ("s1.evaluate.grading.expressions", 0),
    ("s1.evaluate.grading.regions", 0),
    ("s1.evaluate.grading.mathematics", 0),
    ("s1.evaluate.grading.limits", 0),
    ("s1.evaluate.grading.opinion", 0),
    ("s1.generate.transformers_engine", 2),
    ("s1.generate.slot_cache", 2),
    ("s1.generate.vllm_engine", 2),
    ("s1.generate.replicas", 2),
    ("s1.generate.engines", 2),
    ("s1.generate.answers", 2),
    ("s1.generate.shards", 2),
    ("s1.generate.continuations", 1),
    ("s1.generate.census", 2),
    ("s1.generate.rollout", 1),
    ("s1.generate.methods*", 0),
    ("s1.generate.*", 0),
    ("s1.report.findings", 1),
    ("s1.report.columns", 0),
    ("s1.report.markdown", 0),
    ("s1.report.table", 1),
    ("s1.report.samples", 1),
    ("s1.report.funnel_table", 1),
    ("s1.report.show", 1),
    ("s1.report.step", 1),
    ("s1.report.shape", 1),
    ("s1.report.verdict", 1),
    ("s1.report.*", 2),
    ("s1.data.*", 2),
    ("s1.evaluate.*", 2),
    ("s1.train.*", 2),
    ("s1.track", 2),
    ("s1.asking", 3),
    ("s1.learning", 3),
    ("s1.prefetch", 3),
    ("s1.pinning", 3),
    ("s1.estimates", 3),
    ("s1.local_rows", 2),
    ("s1.size_notes", 0),
    ("s1.pipeline", 3),
)

DOORWAYS = {
    "hydra": ["sweep.compose", "sweep.overrides", "sweep.beside", "sweep.escapes", "sweep.recorded"],
    "omegaconf": ["sweep.compose", "sweep.resolving", "sweep.resolvers"],
    "pydantic": ["sweep.typed"],
    "rich": [
        "sweep.console",  # what all others print to
        *("sweep.show", "sweep.show_store", "sweep.show_slurm", "sweep.show_results"),
    ],
    "subprocess": [
        "sweep.code_changes",
        "sweep.launch.local",
        "sweep.launch.slurm_queue",
        "sweep.group",
        "sweep.job_fate",
        "sweep.stall",
        "sweep.provenance",
    ],
    "psutil": ["sweep.processes"],
    "trl": ["s1.train.trainer"],
    "peft": ["s1.train.weights"],
    "lm_eval": ["s1.evaluate.replay"],
    "math_verify": ["s1.evaluate.grading.opinion"],
    "sympy": ["s1.evaluate.grading.expressions", "s1.evaluate.grading.regions"],
    "wandb": ["s1.track"],
    "matplotlib": [
        "s1.report.canvas",
        "s1.report.figures",
        "s1.report.figures_samples",
        "s1.report.figures_funnel",
        "s1.report.figures_lengths",
        "s1.report.training",
    ],
    "jinja2": [
        "s1.dialect",
        "s1.report.page",
        "s1.evaluate.replay",
    ],  # there its errors alone, which lm-eval lets through
    "vllm": ["s1.generate.vllm_engine"],
    "openai": ["s1.data.endpoint"],
    "huggingface_hub": ["s1.hub"],
}

# What s1 may know of the machinery.
VOCABULARY = {
    "sweep.stage",
    "sweep.source",
    "sweep.generations",
    "sweep.errors",
    "sweep.identity",
    "sweep.interrupt",
    "sweep.lock",
    "sweep.contract",
    "sweep.typed",
    "sweep.ranges",
    "sweep.printable",
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")


def rank_of(module: str) -> int:
    for pattern, rank in RANKS:
        if fnmatch(module, pattern):
            return rank
    raise AssertionError(f"{module}: has no rank. Give it one in RANKS.")


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


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_module_imports_its_own_rank_or_lower(path: Path) -> None:
    module = module_of(path)
    if path.name == "__init__.py":
        assert path.read_text(encoding="utf-8") == "", "an __init__ does no work"
        return
    for imported in imports_of(path):
        if imported.startswith(("s1.", "sweep.")):
            assert rank_of(imported) <= rank_of(module), f"{module} imports {imported}, which stands above it"


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_the_machinery_does_not_know_the_science_and_the_science_only_its_vocabulary(path: Path) -> None:
    module = module_of(path)
    for imported in imports_of(path):
        if module.startswith("sweep"):
            assert not imported.startswith("s1"), f"{module} imports {imported}"
        elif imported.startswith("sweep."):
            assert imported in VOCABULARY, f"{module} imports {imported}"


@pytest.mark.parametrize("library", DOORWAYS)
def test_a_heavy_library_has_one_doorway(library: str) -> None:
    users = {module_of(path) for path in SOURCES if any(each.split(".")[0] == library for each in imports_of(path))}
    assert users <= set(DOORWAYS[library]), f"{library} is imported by {sorted(users)}"


def test_planning_imports_nothing_heavy() -> None:
    """A login node or a cached rerun must not wait for torch."""
    code = "import sys, sweep.__main__, s1.pipeline; print(sorted(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    heavy = {
        "torch",
        "transformers",
        "trl",
        "accelerate",
        "datasets",
        "lm_eval",
        "wandb",
        "matplotlib",
        "vllm",
        "openai",
        "pandas",
        "numpy",
        "scipy",
        "huggingface_hub",
    }
    assert not loaded & heavy


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_files_and_functions_stay_readable(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 500, "two ideas in one file"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, f"{node.name} is too long"
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            assert len([each for each in arguments if each.arg != "self"]) <= 6, f"{node.name} takes too much"
    assert source.isascii() or path.name == "identity.py", "ASCII in code"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name != "__init__.py"], ids=module_of)
def test_every_module_and_public_function_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path.name} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name != "main":
            assert ast.get_docstring(node) or (node.end_lineno or 0) - node.lineno < 6, f"{node.name} has no docstring"
