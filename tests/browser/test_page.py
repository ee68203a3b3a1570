"""The committed report, in a real browser: it fits a phone and a desk, and its figure is drawn."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.requirements import need

REPORT = Path(__file__).resolve().parents[2] / "results" / "published" / "budget_scan" / "report.html"
PROBE = """<script>
const root = document.documentElement;
const drawn = [...document.querySelectorAll("svg")].filter(each => each.getBoundingClientRect().width > 200);
root.dataset.overflow = root.scrollWidth - root.clientWidth;
root.dataset.drawn = drawn.length;
</script></body>"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    need(found, "no chromium or google-chrome", "apt-get install --no-install-recommends chromium")
    assert found
    return found


@pytest.mark.parametrize("width", [360, 1200])
def test_the_report_fits_the_window_and_shows_its_figures(browser: str, width: int, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(REPORT.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    frame = tmp_path / "frame.html"  # headless windows have a least width; a frame has none
    frame.write_text(f'<iframe src="report.html" width="{width}" height="4000"></iframe>', encoding="utf-8")
    seen = rendered(browser, frame, tmp_path)
    assert seen == {"overflow": 0, "drawn": 3}


def rendered(browser: str, frame: Path, home: Path) -> dict[str, int]:
    """What the probe in the framed page measured."""
    collect = """<script>addEventListener("load", () => {
      const seen = document.querySelector("iframe").contentDocument.documentElement.dataset;
      document.title = `overflow=${seen.overflow} drawn=${seen.drawn}`;
    });</script>"""
    frame.write_text(frame.read_text(encoding="utf-8") + collect, encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--allow-file-access-from-files",
        f"--user-data-dir={home / 'profile'}",
        "--virtual-time-budget=5000",
        "--dump-dom",
    ]
    done = subprocess.run([browser, *flags, frame.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    (title,) = re.findall(r"<title>(.*?)</title>", done.stdout)
    return {name: int(value) for name, value in (part.split("=") for part in title.split())}
