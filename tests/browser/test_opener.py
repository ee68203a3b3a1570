"""The browser of these tests notices what no page of ours may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chromium import Opener, View, grave_findings, overflow

PAGE = '<!doctype html><html lang="en"><title>t</title><main><h1>Page</h1>{}</main></html>'


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("<script>console.error('broken')</script>", "console: broken"),
        ("<script>missing()</script>", "error: missing is not defined"),
        ("<img alt='' src='http://127.0.0.1:9/picture.png'>", "request: http://127.0.0.1:9/picture.png"),
        ("<script src='nowhere.js'></script>", "not loaded: file://"),
    ],
)
def test_what_no_page_may_do_fails_the_test(opener: Opener, tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "page.html").write_text(PAGE.format(content), encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match=problem), opener.page(tmp_path / "page.html"):
        pass


def test_a_wide_table_and_an_unnamed_button_are_found(opener: Opener, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(PAGE.format("<button></button><div style='width: 500px'>wide</div>"), encoding="utf-8")
    with opener.page(page, View(width=360)) as opened:
        assert overflow(opened) > 100
        assert [each.split(":")[0] for each in grave_findings(opened)] == ["button-name"]
