"""Pages of a report in a real Chromium, from file://: an error on the console or a request elsewhere fails the test.

`S1_PICTURES` names a folder that keeps the pictures; without it they go to the temporary folder of the test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.requirements import need

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

WIDTHS = (360, 800, 1600)
GRAVE = ("serious", "critical")  # what axe may not find
LOCAL = ("file:", "data:", "blob:", "about:")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@dataclass(frozen=True)
class View:
    """How somebody looks at a page."""

    width: int = 1200
    height: int = 900
    dark: bool = False
    javascript: bool = True

    @property
    def name(self) -> str:
        return f"{self.width}-{'dark' if self.dark else 'light'}{'' if self.javascript else '-without-javascript'}"


@dataclass(frozen=True)
class Opener:
    """Opens pages, and collects what a reader of the page should never see happen."""

    browser: Browser
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def page(self, path: Path, view: View | None = None) -> Iterator[Page]:
        """The page of a local file, loaded; its problems fail the test when the page is closed."""
        context = self._context(view or View())
        try:
            page = context.new_page()
            self._watch(page)
            page.goto(path.resolve().as_uri(), wait_until="load")
            yield page
        finally:
            context.close()
        if self.problems:
            pytest.fail("\n".join(dict.fromkeys(self.problems)), pytrace=False)

    def _context(self, view: View) -> BrowserContext:
        context = self.browser.new_context(
            viewport={"width": view.width, "height": view.height},
            color_scheme="dark" if view.dark else "light",
            java_script_enabled=view.javascript,
            reduced_motion="reduce",
            accept_downloads=True,
        )
        context.set_default_timeout(10_000)
        return context

    def _watch(self, page: Page) -> None:
        def console(said: ConsoleMessage) -> None:
            if said.type in ("error", "warning"):
                self.problems.append(f"console: {said.text}")

        def request(asked: Request) -> None:
            if not asked.url.startswith(LOCAL):
                self.problems.append(f"request: {asked.url}")

        page.on("console", console)
        page.on("request", request)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("requestfailed", lambda asked: self.problems.append(f"not loaded: {asked.url[:200]}"))


@contextmanager
def started() -> Iterator[Browser]:
    """A Chromium of this machine; skips where there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    need(found, "no chromium or google-chrome", "apt-get install --no-install-recommends chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[dev]'")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=found, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def grave_findings(page: Page, within: str | None = None) -> list[str]:
    """What axe finds serious or critical, in the whole page or within a selector: rule, what is wrong, where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=within).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {node['target'][0]}"
        for each in found
        if each["impact"] in GRAVE
        for node in each["nodes"]
    ]


def overflow(page: Page) -> int:
    """Pixels by which the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def keep_picture(page: Page, name: str, folder: Path) -> Path:
    """Save a picture of the whole page as NAME.png."""
    kept = Path(os.environ.get("S1_PICTURES") or folder)
    kept.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=kept / f"{name}.png", full_page=True)
    return kept / f"{name}.png"
