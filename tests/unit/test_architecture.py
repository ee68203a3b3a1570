"""The structure: who may import whom, one doorway per heavy library, small files and functions, a docstring for each.

Each test reads all files and names every violation in its one failure.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*PROJECT.glob("sweep/**/*.py"), *PROJECT.glob("s1/**/*.py")])
TESTS = sorted(PROJECT.glob("tests/**/*.py"))
MAX_SOURCE_LINES, MAX_TEST_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 500, 400, 50, 6

# Pure -> files -> adapters -> composition -> entry; a module imports its own rank or lower. First match counts.
RANKS = (
    ("sweep.errors", 0),
    ("sweep.places", 0),
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
    ("sweep.own_conf", 2),
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
    ("sweep.api", 3),
    ("sweep.by_hand", 3),
    ("sweep.queueing", 3),
    ("sweep.suggestions", 0),
    ("sweep.cli_table", 0),
    ("sweep.cli_parser", 0),
    ("sweep.run_sweep", 4),
    ("sweep.completion", 4),
    ("sweep.cli", 5),
    ("sweep.__main__", 6),
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
    ("s1.api", 4),
)

DOORWAYS = {
    "hydra": ["sweep.compose", "sweep.own_conf", "sweep.overrides", "sweep.beside", "sweep.escapes", "sweep.recorded"],
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
    "pandas": ["s1.api"],
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
# What runs a whole command is known to one module of s1 alone, the Python API.
OF_API = {"sweep.api"}


# What must not be imported before a worker starts.
HEAVY = {
    *("torch", "transformers", "trl", "accelerate", "datasets", "lm_eval", "wandb", "matplotlib", "vllm", "openai"),
    *("pandas", "numpy", "scipy", "huggingface_hub"),
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


def violations_of(rule: Callable[[Path], Iterator[str]], paths: Sequence[Path]) -> str:
    """Every violation of a rule, a line each; empty if it holds everywhere."""
    return "\n".join(f"{path.relative_to(PROJECT)}: {each}" for path in paths for each in rule(path))


def test_imports_go_down_and_the_machinery_does_not_know_the_science() -> None:
    def rule(path: Path) -> Iterator[str]:
        module = module_of(path)
        if path.name == "__init__.py":
            if module != "s1" and path.read_text(
                encoding="utf-8"
            ):  # that of s1 offers the Python API, and loads nothing
                yield "an __init__ does no work"
            return
        vocabulary = VOCABULARY | OF_API if module == "s1.api" else VOCABULARY
        for imported in imports_of(path):
            if not imported.startswith(("s1.", "sweep.")):
                continue
            if rank_of(imported) > rank_of(module):
                yield f"imports {imported}, which stands above it"
            if module.startswith("sweep") and imported.startswith("s1"):
                yield f"imports {imported}: the machinery knows no science"
            if module.startswith("s1") and imported.startswith("sweep.") and imported not in vocabulary:
                yield f"imports {imported}, which is not in VOCABULARY"

    assert not (found := violations_of(rule, SOURCES)), found


def test_a_heavy_library_has_one_doorway() -> None:
    def rule(path: Path) -> Iterator[str]:
        for library in {imported.partition(".")[0] for imported in imports_of(path)} & DOORWAYS.keys():
            if module_of(path) not in DOORWAYS[library]:
                yield f"imports {library}. Use what {', '.join(DOORWAYS[library])} offers"

    assert not (found := violations_of(rule, SOURCES)), found


def test_planning_imports_nothing_heavy() -> None:
    """A login node or a cached rerun must not wait for torch."""
    code = "import sys, sweep.cli, sweep.completion, sweep.run_sweep, s1.pipeline;"
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
