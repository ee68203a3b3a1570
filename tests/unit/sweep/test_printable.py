"""No text from outside reaches a terminal unescaped, checked on the printed bytes."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table

from sweep.cli.show_slurm import show_log
from sweep.console import Console, escape
from sweep.core.pipeline import SweepRequest
from sweep.local.show import read_progress, result_table, show_plan
from sweep.plan.planning import planned
from sweep.printable import printable
from sweep.slurm.jobs import Element
from sweep.slurm.sbatch import log_name
from sweep.slurm.status import ElementState, ElementStatus
from sweep.slurm.submission import SubmissionDirectory
from sweep.store.directory import Store
from tests.support import toy

HOSTILE = "a\x1b[31mred\x1b]0;title\x07\x9b2J\x7f\r\u202eevil\u2066\u200bx\ud800\U000e0041"
SHOWN = r"a\x1b[31mred\x1b]0;title\x07\x9b2J\x7f\x0d\u202eevil\u2066\u200bx\ud800\U000e0041"
OWN = re.compile(r"\x1b\[[\d;]*m")  # colours, which rich sends


def printed(width: int = 200, terminal: bool = False) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=width, force_terminal=terminal, color_system="standard" if terminal else None), text


def test_what_a_terminal_would_obey_hide_or_reorder_is_shown() -> None:
    assert printable(HOSTILE) == SHOWN
    assert printable("plain\ttab\nline, \u8a9e, \u00e9, \U0001f600") == "plain\ttab\nline, \u8a9e, \u00e9, \U0001f600"
    assert printable(printable(HOSTILE)) == SHOWN


@pytest.mark.parametrize("is_terminal", [False, True])
def test_strings_cells_and_bars_pass_through_one_place(is_terminal: bool) -> None:
    console, text = printed(terminal=is_terminal)
    console.print(f"[red]{escape(HOSTILE)}[/red]", soft_wrap=True)
    console.print(HOSTILE, markup=False, soft_wrap=True)  # also where a caller forgot to escape
    table = Table(box=None)
    table.add_column("what")
    table.add_row(HOSTILE.replace("[", ""))
    console.print(table)
    bar = Progress(TextColumn("{task.description}", markup=False), console=Console(file=text, width=200))
    bar.add_task(HOSTILE)
    bar.console.print(bar.make_tasks_table(bar.tasks))
    said = OWN.sub("", text.getvalue())
    assert said.count(r"\x1b]0;title\x07\x9b2J\x7f\x0d\u202eevil") == 3
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u202e]", said)


def test_columns_are_as_wide_as_what_is_shown() -> None:
    console, text = printed()
    console.print(result_table([{"point": HOSTILE, "n": "8"}, {"point": "max 8", "n": "300"}]))
    first, second = (line.rstrip() for line in text.getvalue().splitlines()[1:3])
    assert first.startswith(SHOWN) and len(first) == len(second)


def test_markup_and_emoji_of_others_are_text() -> None:
    console, text = printed(terminal=True)
    console.print(escape("[link=https://evil]x[/link] [/red] :bomb: [bold]"), soft_wrap=True)
    assert OWN.sub("", text.getvalue()).strip() == "[link=https://evil]x[/link] [/red] :bomb: [bold]"


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "hush-hush-hush-1")
    console, text = printed()
    console.print("it says hush-hush-hush-1 and goes on")
    assert text.getvalue() == "it says <redacted> and goes on\n"


def test_a_progress_file_of_a_stranger_is_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    assert read_progress(path) == (0, 0, "")
    for content in ("[]", "{", '{"done": "x", "total": 1, "unit": ""}', '{"done": null}', "7"):
        path.write_text(content, encoding="utf-8")
        assert read_progress(path) == (0, 0, "")
    path.write_text(json.dumps({"done": 1, "total": 2, "unit": "tokens"}), encoding="utf-8")
    assert read_progress(path) == (1, 2, "tokens")


def test_the_end_of_a_log_is_shown_without_its_codes(tmp_path: Path) -> None:
    directory = SubmissionDirectory(tmp_path / "submissions" / "id")
    directory.logs.mkdir(parents=True)
    element = Element((("answers/abc\x1b[2J",),), (), "label")
    status = ElementStatus("02-answers", 0, element, None, ElementState.RUNNING, None)
    log = directory.logs / log_name("02-answers", "0")
    log.write_text("one\n\x1b[2Jtwo\x1b]0;pwned\x07\n", encoding="utf-8")
    console, text = printed()
    show_log(console, directory, status, 20)
    assert r"\x1b[2Jtwo\x1b]0;pwned\x07" in text.getvalue() and "\x1b" not in text.getvalue()


class OneMade(Store):
    """A store in which a stranger has made one stage."""

    def made(self, name: str) -> dict[str, dict[str, object]]:
        identity = {"name": name, "config": {"number\x1b[2J": 1, "fail": "\x1b]0;pwned\x07"}}
        return {"abc": {"identity": identity, "request_key": "abc"}}


def test_a_plan_shows_the_names_and_values_of_a_strangers_record(tmp_path: Path) -> None:
    store = OneMade(tmp_path / "st[/red]\x1bore")
    point = toy.Point("toy", toy.Shape(2))
    graph = toy.graph([point], SweepRequest("", [{}], store.root, lambda: ""))
    console, text = printed(400)
    show_plan(console, graph, planned(graph, store), store)
    assert "\x1b" not in text.getvalue() and "\x07" not in text.getvalue()
    assert r"st[/red]\x1bore" in text.getvalue()
    assert r"\x1b[2J" in text.getvalue()
