"""What all tests share: settled surroundings, tiers by folder, golden files, and what is made once per run.

`golden("report/table.csv", text)` holds a whole text against tests/golden/report/table.csv. A difference fails with a
unified diff; `pytest --accept` writes the new text instead, to be reviewed as a diff in git.
"""

from __future__ import annotations

from tests.support import surroundings

surroundings.settle()  # before anything reads the environment

import difflib  # noqa: E402
import os  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests.support.made_once import made_once  # noqa: E402
from tests.support.smoke import User  # noqa: E402

# A busy machine is no fault.
settings.register_profile("s1", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("s1")

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
TIERS = {"slurm", "vllm", "wandb", "browser", "faults", "gpu"}  # folders whose tests bear the marker of that name
LONGEST = ("test_scan.py", "test_slurm_scan.py", "test_distributed.py", "test_paper_runs.py", "test_scan_on_vllm.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept", action="store_true", help="rewrite golden files with what the code makes now")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tiers; put the longest files first, as one of them begun last would run alone at the end."""
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder in TIERS:
            item.add_marker(folder)
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(scope="session", autouse=True)
def _in_the_project() -> None:
    """Wherever pytest was started: tests name files of the project by relative paths."""
    os.chdir(surroundings.PROJECT)


@pytest.fixture(scope="session")
def smoke_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where someone's smoke scan is finished (store/, results/): all files share it and do not write there."""

    def scan(home: Path) -> None:
        done = User(home).run()
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "smoke-scan", scan)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a whole text with the golden file of that name, or rewrite the file under --accept."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--accept"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        expected = path.read_text(encoding="utf-8") if path.exists() else ""
        if text != expected:
            before, after = expected.splitlines(), text.splitlines()
            lines = difflib.unified_diff(before, after, f"golden/{name}", "made now", lineterm="")
            accept = f"pytest {request.node.nodeid.partition('::')[0]} --accept"
            pytest.fail("\n".join([*lines, f"If this is right: {accept}"]), pytrace=False)

    return compare
