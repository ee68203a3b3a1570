"""`sweep report`: where its text goes, and what it refuses before it reads anything."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sweep.cli import report as command
from sweep.console import Console
from sweep.core.pipeline import PublishedResult
from sweep.errors import InputError
from sweep.local.execute import execute_plan
from sweep.plan.graph import plan
from tests.support.publisher import User, content


class Written:
    """The report of a pipeline whose text is a link."""

    def __init__(self, result: PublishedResult) -> None:
        self.result = result

    def markdown(self, link: Callable[[str], str]) -> str:
        return f"{self.result.name} {link('a figure.png')}\n"

    def send(self, project: str | None) -> Sequence[str]:
        return [f"sent to {project}"]


class Pipeline:
    def report(self, result: PublishedResult) -> Written:
        return Written(result)


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> User:
    user = User(tmp_path_factory.mktemp("reported"))
    work = plan([user.graph.artifact], user.store.is_done)
    assert execute_plan(Console(file=io.StringIO()), user.graph, work, user.store, user.results)
    return user


@pytest.fixture(autouse=True)
def _pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "pipeline_of", lambda *_: Pipeline())


def say(user: User, name: str = "toy", wandb: bool = False, to: str | None = None, project: str | None = None) -> str:
    out = io.StringIO()
    places = [f"store={user.store.root}", f"results={user.results}"]
    assert command.report(Console(file=out), name, wandb, to, project, places) == 0
    return out.getvalue()


def test_a_link_leads_from_the_text_to_the_file_of_the_result(user: User, tmp_path: Path) -> None:
    target = tmp_path / "of mine.md"
    assert say(user, to=str(target)) == f"written to {target}\n"
    name, link = target.read_text(encoding="utf-8").split(" ")
    assert name == f"toy/{user.key}"
    assert (tmp_path / link.strip().replace("%20", " ")).resolve() == user.folder / user.key / "a figure.png"


def test_without_a_file_it_is_printed_and_the_result_stays(user: User, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(user.folder)
    assert say(user) == ""
    assert capsys.readouterr().out.startswith(f"toy/{user.key} ")
    assert say(user, wandb=True, project="team/x") == "sent to team/x\n"
    assert content(user.folder) == before


@pytest.mark.parametrize("place", ["{result}/mine.md", "{result}/figures/../mine.md", "{result}/manifest.json"])
def test_a_result_is_never_changed(user: User, place: str) -> None:
    (user.folder / "latest" / "figures").mkdir(exist_ok=True)
    for result in (user.folder / user.key, user.folder / "latest"):
        with pytest.raises(InputError, match=r"inside the result .*, which is never changed"):
            say(user, to=place.format(result=result))


def test_a_place_that_cannot_be_written_is_named(user: User, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"its folder does not exist"):
        say(user, to=str(tmp_path / "none" / "report.md"))
    with pytest.raises(InputError, match=r"a folder. Name a file"):
        say(user, to=str(tmp_path))


def test_a_project_without_wandb_and_an_unknown_result_are_refused(user: User) -> None:
    with pytest.raises(InputError, match=r"--project team/x: only with --wandb"):
        say(user, project="team/x")
    with pytest.raises(InputError, match=r"report toi: .*toy"):
        say(user, name="toi")
