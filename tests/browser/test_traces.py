"""The trace browser in a real Chromium, from file://: every control, the keyboard, and texts that attack the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s1.records import AnswerEnd, Outcome
from s1.report.trace_archive import Origin, Piece
from tests.support.archives import point, question, trace, write
from tests.support.chromium import WIDTHS, Opener, View, grave_findings, keep_picture, overflow
from tests.support.trace_pages import trace_page

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

START = "I add 3 and 4 in my head, slowly, and I write down each of the steps that I take on the way to the sum 😀. "
ATTACKS = (
    "<script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">",
    "$\\href{javascript:document.title='run'}{x}$ $\\url{javascript:1}$ $\\includegraphics{http://127.0.0.1:9/x.png}$",
    "\\(\\htmlStyle{color:red}{y}\\) costs $5 and $6, or \\boxed{\\frac{1}{2}} </script><b>bold</b>",
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three points of one line; 12 answers 7 under the first and is wrong under the last."""
    folder = tmp_path_factory.mktemp("archive")
    points = [point(0, "max 8"), point(1, "max 1,024"), point(2, "Wait x1", valid=False)]
    rows = []
    for row in range(40):
        right = (row % 4 != 0, row % 2 == 0 or row == 3, row % 3 == 0)
        pieces = [Piece(START + "So 7. ", Origin.SAMPLED), Piece("Wait", Origin.APPENDED), Piece(", 8", Origin.SAMPLED)]
        traces = {
            0: [trace(START, " 7", right[0], cut=True, thinking_tokens=8)],
            1: [trace(START + "So $\\frac{7}{1}$.", " \\boxed{7}", right[1], thinking_tokens=100 + row)],
            2: [trace("", " 8", right[2], pieces=pieces, waits=1, thinking_tokens=200, loops=row == 5)],
        }
        if row == 7:
            traces[2] = [trace("x", "", False, extracted=None, outcome=Outcome.NONE, answer_end=AnswerEnd.CONTEXT)]
        if row == 8:
            traces[2] = [trace("x", "?", False, extracted=None, outcome=Outcome.NONE, graded="?")]
        if row == 9:
            del traces[0]
        if row == 10:
            traces[1] = [trace("\n".join(ATTACKS), ATTACKS[0], prompt=ATTACKS[0], extracted=ATTACKS[1])]
        id = "<b>attack</b>" if row == 10 else f"q{row:02}"
        text = ATTACKS[0] if row == 10 else "What is $3 + 4$?"
        if row == 11:
            written = [Piece(START + "So 7. Wait, 9", Origin.SAMPLED)]  # by the model, where Wait x1 was given it
            traces[1] = [trace("", " 7", right[1], pieces=written, thinking_tokens=100 + row)]
        rows.append((question(row, text, question_id=id), traces))
    write(folder / "traces", points, rows)
    return folder


@pytest.fixture
def page(opener: Opener, archive: Path) -> Iterator[Page]:
    with opener.page(trace_page(archive)) as opened:
        opened.locator(".traces-row").first.wait_for()
        yield opened


def matches(page: Page) -> str:
    return page.locator(".traces-matches").inner_text()


def ids(page: Page) -> list[str]:
    return [each.split()[0] for each in page.locator(".traces-row .traces-name").all_inner_texts()]


def sides(page: Page) -> list[Locator]:
    page.locator(".traces-side h4").nth(1).wait_for()
    return page.locator(".traces-side").all()


def option(page: Page, select: str, words: str) -> None:
    chosen = page.locator(f".traces-{select} option").all_inner_texts()
    page.locator(f".traces-{select}").select_option(index=next(i for i, each in enumerate(chosen) if words in each))


def test_the_grid_has_a_sign_a_colour_and_words_for_every_result(page: Page) -> None:
    assert matches(page) == "40 of 40 questions"
    cells = page.locator("[id^=trace-cell-7-], [id^=trace-cell-8-], [id^=trace-cell-9-]")
    assert [each for each in cells.all_inner_texts() if not each.startswith("#")] == [
        *("✓", "✕", "✂"),
        *("✕", "✓", "○"),
        *("", "✕", "✓"),
    ]
    labels = page.locator(".traces-row[data-line='7'] .traces-cell").evaluate_all(
        "cells => cells.map(cell => cell.getAttribute('aria-label'))"
    )
    assert labels == [
        "question 7, max 8: right",
        "question 7, max 1,024: wrong",
        "question 7, Wait x1: answer cut",
    ]
    grid = page.get_by_role("grid")
    assert (grid.get_attribute("aria-rowcount"), grid.get_attribute("aria-colcount")) == ("41", "4")
    assert page.get_by_role("columnheader").all_inner_texts() == ["question", "max 8", "max 1,024", "Wait x1 ✕ invalid"]


def test_only_rows_in_view_exist_and_all_can_be_scrolled_to(page: Page) -> None:
    assert len(ids(page)) < 40
    page.locator(".traces-grid").evaluate("grid => grid.scrollTop = grid.scrollHeight")
    page.locator("[data-line='39']").wait_for()
    assert ids(page)[-1] == "#39"


def test_each_filter_lists_and_counts_its_questions(page: Page) -> None:
    counted = {each.rpartition(" (")[0]: each for each in page.locator(".traces-filter option").all_inner_texts()}
    flips = [row for row in range(40) if row not in (9, 10) and (row % 4 != 0) != (row % 2 == 0 or row == 3)]
    assert counted["answered differently under A and B"].endswith(f"({len(flips)})")
    option(page, "filter", "answered differently")
    assert matches(page).startswith(f"{len(flips)} of 40 questions: answered differently")
    assert ids(page)[: len(flips)] == [f"#{row}" for row in flips[: len(ids(page))]]
    for words, rows in {
        "no answer": [7, 8],
        "answer cut": [7],
        "thinking loops": [5],
        "wrong under A, right under B": [0, 4, 8, 12, 16, 20, 24, 28, 32, 36],
        "lost by thinking on": [row for row in range(40) if row % 2 and row not in (3, 9)],
    }.items():
        option(page, "filter", words)
        assert matches(page).startswith(f"{len(rows)} of 40"), words
        assert ids(page) == [f"#{row}" for row in rows][: len(ids(page))]


def test_search_order_and_the_two_points_change_the_list(page: Page) -> None:
    search = page.locator(".traces-search")
    search.fill("Q1")
    assert matches(page) == "9 of 40 questions"  # q10 has another id
    search.fill("#12")
    assert ids(page) == ["#12"]
    search.fill("nothing has this id")
    assert matches(page) == "0 of 40 questions" and ids(page) == []
    search.fill("")
    option(page, "order", "longest")
    assert ids(page)[:2] == ["#0", "#1"]  # all have 200 under Wait
    option(page, "order", "fewest right")
    assert ids(page)[0] not in ("#2", "#6")
    option(page, "order", "question id")
    assert ids(page)[0] == "#10"
    option(page, "b", "Wait x1")
    option(page, "filter", "wrong under A, right under B")
    assert ids(page) == ["#0", "#12", "#24", "#36"]


def test_a_cell_opens_two_traces_side_by_side_and_their_common_beginning_is_folded(page: Page) -> None:
    page.locator("#trace-cell-12-3").click()
    one, other = sides(page)
    assert page.get_by_role("heading", name="Question 12").is_visible()
    assert one.locator("h4").inner_text() == "max 8" and other.locator("h4").inner_text() == "Wait x1"
    common = len("<think>\n" + START)
    assert (
        f"{common} characters in common" in one.inner_text() and f"{common} characters in common" in other.inner_text()
    )
    assert "I add 3" not in one.inner_text()
    one.get_by_text("characters in common").click()
    one.get_by_text("sum 😀.").wait_for()  # it is made when the fold has opened
    assert one.locator(".traces-of-cut").inner_text().startswith("thinking cut")
    assert "Final Answer:" in one.locator(".traces-of-cut").inner_text()
    assert other.locator(".traces-of-appended").inner_text() == "appendedWait"
    assert "So 7." in other.locator(".traces-parted").inner_text()
    assert (
        "1 end suppressed" in other.inner_text() and "✓ right" in other.inner_text() and "✕ wrong" in one.inner_text()
    )
    assert "the grader read\nthe whole answer" in one.inner_text()
    one.get_by_text("The prompt as the engine saw it").click()
    one.get_by_text("<user>What is it?<assistant>").wait_for()


def test_what_one_trace_was_given_is_not_in_common_with_what_the_other_wrote(page: Page) -> None:
    page.locator("#trace-cell-11-3").click()
    option(page, "side-a", "max 1,024")
    page.locator(".traces-side h4", has_text="max 1,024").wait_for()
    one, other = sides(page)
    common = f"{len('<think>' + chr(10) + START + 'So 7. ')} characters in common"
    assert common in one.inner_text() and common in other.inner_text()
    assert other.locator(".traces-parted .traces-of-appended").inner_text() == "appendedWait"
    assert one.locator(".traces-parted").inner_text().startswith("Wait, 9")


def test_what_is_not_known_or_not_there_is_said(page: Page) -> None:
    page.locator("#trace-cell-9-2").click()
    assert "was not asked this question" in sides(page)[0].inner_text()
    page.get_by_role("button", name="Previous").click()
    page.locator(".traces-title", has_text="Question 8").wait_for()
    option(page, "side-b", "Wait x1")
    page.locator(".traces-side", has_text="no answer").wait_for()
    assert "found in the answer\nno answer" in sides(page)[1].inner_text()
    assert page.evaluate("location.hash") == "#q=8&a=0&b=2"


def test_latex_is_typeset_as_mathml_unless_switched_off(page: Page) -> None:
    page.locator("#trace-cell-12-2").click()
    page.locator(".traces-question math").wait_for()
    assert page.locator(".traces-side math mfrac").count() == 1
    page.get_by_text("typeset LaTeX").click()
    page.locator(".traces-question", has_text="$3 + 4$").wait_for()
    assert page.locator(".traces-dialog math").count() == 0


def test_texts_that_attack_the_page_stay_texts(page: Page) -> None:
    assert "#10 <b>attack</b>" in page.locator(".traces-row").all_inner_texts()[10]
    page.locator("#trace-cell-10-2").click()
    page.locator(".traces-side math").first.wait_for()
    for summary in page.locator(".traces-dialog summary").all():
        summary.click()
    assert page.title() == "traces"
    inert = "a, img, iframe, script, b:not(.traces-row b), [style*=color]"
    assert page.locator(".traces-dialog").locator(inert).count() == 0
    written = page.locator(".traces-side").nth(1).inner_text()
    assert "<script>document.title = 'run'</script>" in written and "</script><b>bold</b>" in written
    assert "costs $5 and $6" in written
    page.get_by_text("typeset LaTeX").click()
    page.locator(".traces-side", has_text="\\href{javascript:document.title='run'}{x}").first.wait_for()


def test_the_keyboard_moves_opens_closes_and_comes_back(page: Page) -> None:
    grid = page.get_by_role("grid")
    grid.focus()

    def active() -> str | None:
        return grid.get_attribute("aria-activedescendant")

    assert active() == "trace-cell-0-0"
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowLeft"):
        page.keyboard.press(key)
    assert active() == "trace-cell-1-1"
    page.keyboard.press("Control+End")
    assert active() == "trace-cell-39-3"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Home")
    page.keyboard.press("PageUp")
    line = int((active() or "").split("-")[2])
    assert 20 < line < 39 and active() == f"trace-cell-{line}-0"
    assert page.locator(".traces-active").evaluate("cell => getComputedStyle(cell).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    assert page.locator(".traces-title").inner_text() == f"Question {line}"
    page.get_by_role("button", name="Next").click()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert active() == f"trace-cell-{line + 1}-1" and page.evaluate("location.hash") == "#traces"
    assert page.evaluate("document.activeElement.getAttribute('role')") == "grid"


def test_an_address_opens_its_view_and_a_wrong_one_is_refused(opener: Opener, archive: Path) -> None:
    with opener.page(trace_page(archive)) as opened:
        opened.goto(f"{(archive / 'page.html').as_uri()}#q=12&a=1&b=2")
        opened.reload()
        one, other = sides(opened)
        assert one.locator("h4").inner_text() == "max 1,024" and other.locator("h4").inner_text() == "Wait x1"
        opened.keyboard.press("Escape")
        for wrong in ("#q=40&a=0&b=1", "#q=1&a=0&b=3", "#q=x", "#q=1&a=__proto__&b=1"):
            opened.evaluate("hash => location.hash = hash", wrong)
            opened.locator(".traces-matches", has_text="no such question or point").wait_for()
            assert not opened.get_by_role("dialog").is_visible()


def test_texts_beside_the_page_are_loaded_when_they_are_asked_for(opener: Opener, archive: Path) -> None:
    asked: list[str] = []
    with opener.page(trace_page(archive, inline=False)) as opened:
        opened.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
        opened.reload()
        opened.locator("#trace-cell-12-2").wait_for()
        assert asked.count("index.js") == 1 and "0000.js" not in asked
        opened.locator("#trace-cell-12-2").click()
        sides(opened)
        assert asked.count("0000.js") == 1


def test_a_page_without_its_files_says_so(opener: Opener, archive: Path, tmp_path: Path) -> None:
    alone = tmp_path / "page.html"
    alone.write_bytes(trace_page(archive, inline=False).read_bytes())
    with opener.page(alone) as opened:
        opened.locator(".traces-matches", has_text="traces/index.js is not beside this page").wait_for()
        assert not opened.get_by_role("grid").is_visible()
        opener.problems.clear()  # the file that is not there


def test_seeds_samples_and_series_can_be_chosen(opener: Opener, tmp_path: Path) -> None:
    points = [
        point(0, "max 8", seeds=(0, 1), samples=2, series=("qwen",)),
        point(1, "max 8", seeds=(0, 1), samples=2, series=("llama",)),
        point(2, "max 16", seeds=(0, 1), samples=2, series=("llama",)),
    ]
    said = {
        place: [trace(f"of {place}", f" {place}.{sample}", place % 2 == 0) for sample in (0, 1)] for place in range(6)
    }
    said[4] = [trace("of 4", " 4.0"), trace("of 4", " 4.1", False)]
    write(tmp_path / "traces", points, [(question(0), said)])
    with opener.page(trace_page(tmp_path)) as opened:
        opened.locator("#trace-cell-0-3").wait_for()
        cells = opened.locator(".traces-row .traces-cell")
        assert cells.all_inner_texts() == ["2/4", "2/4", "1/4"]
        assert cells.nth(2).get_attribute("aria-label") == "question 0, max 16: 1 of 4 right"
        assert opened.locator(".traces-a option").all_inner_texts() == ["max 8, qwen", "max 8, llama", "max 16"]
        option(opened, "series", "llama")
        assert opened.locator(".traces-row .traces-cell").all_inner_texts() == ["2/4", "1/4"]
        opened.locator("#trace-cell-0-2").click()
        option(opened, "side-a", "qwen")  # of a series that is not shown: the list has to say what it compares
        opened.keyboard.press("Escape")
        assert opened.locator(".traces-a option:checked").inner_text() == "max 8, qwen"
        option(opened, "a", "max 8, llama")
        assert opened.locator(".traces-a option").all_inner_texts() == ["max 8, llama", "max 16"]
        opened.locator("#trace-cell-0-2").click()
        option(opened, "place-b", "seed 1, sample 1")
        opened.locator(".traces-side", has_text="5.1").wait_for()
        assert opened.evaluate("location.hash") == "#q=0&a=1&b=2.1.1"
        opened.reload()
        opened.locator(".traces-side", has_text="5.1").wait_for()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_the_window_and_axe_finds_nothing_serious(
    opener: Opener, archive: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    view = View(width=width, dark=dark)
    with opener.page(trace_page(archive), view) as opened:
        opened.locator(".traces-row").first.wait_for()
        assert overflow(opened) == 0 and grave_findings(opened) == []
        keep_picture(opened, f"traces-grid-{view.name}", tmp_path)
        opened.locator("#trace-cell-12-2").click()
        one, other = (side.bounding_box() for side in sides(opened))
        assert one and other
        assert (other["y"] >= one["y"] + one["height"]) is (width == 360)
        assert opened.locator(".traces-dialog").evaluate("each => each.scrollWidth - each.clientWidth") <= 0
        assert grave_findings(opened) == []
        keep_picture(opened, f"traces-question-{view.name}", tmp_path)
