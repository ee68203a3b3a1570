"""The command line as a user types it: help, errors and exit statuses, interruption, completion."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweep.cli.completion import candidates
from sweep.cli.main import perform
from sweep.cli.parser import overview, page, read
from sweep.cli.table import COMMANDS, Command
from sweep.console import Console
from sweep.errors import SweepError

PROJECT = Path(__file__).resolve().parents[3]


def typed(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sweep", *words],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "300", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.name.replace(" ", "-"))
def test_every_command_has_a_page_of_80_columns(command: Command, golden: Callable[[str, str], None]) -> None:
    text = page(command)
    assert max(map(len, text.splitlines())) <= 80
    golden(f"cli/{command.name.replace(' ', '-')}.txt", text)


def test_the_overview_names_every_command(golden: Callable[[str, str], None]) -> None:
    assert max(map(len, overview().splitlines())) <= 80
    golden("cli/overview.txt", overview())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.name)
def test_the_function_of_a_command_takes_what_its_entry_declares(command: Command) -> None:
    module, _, name = command.function.partition(":")
    required = [(*each.choices, each.metavar)[0] for each in command.words if each.is_required]
    parameters = list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    assert sorted(parameters) == sorted(["console", *read(command, required)])


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["statu"], 2, "error statu: no such command. Did you mean status? Known here: cancel, completion, logs,"),
        (["status", "--wach"], 2, "error status: --wach: no such option. Did you mean --watch? Known here: --debug,"),
        (["status", "a", "b"], 2, "error status: 'b' is one word too many; it takes ID."),
        (["status", "--every", "5"], 2, "error status --every: sets how often --watch looks. Add --watch."),
        (["status", "--json", "--watch"], 2, "error status --json: cannot be combined with --watch."),
        (["watch", "--every", "0"], 2, "error sweep watch: argument --every: '0' is not a number of seconds from 0.1"),
        (["logs", "--lines", "-1"], 2, "error sweep logs: argument --lines: '-1' is not a whole number of 1 or more."),
        (["logs", "lines=20"], 2, "error logs: lines=20 is now an option. Write --lines 20."),
        (["store", "check", "mend=true"], 2, "error store check: mend=true is now an option. Write --repair."),
        (["model=qwen3_8", "plan=true"], 1, "error model qwen3_8: no such option. Did you mean qwen3_8b? Known here: "),
        (["modl.name=x", "plan=true"], 1, "error modl: no such field. Did you mean model? Known here: also, budget,"),
        (["+experimnt=smoke"], 1, "error experimnt: no such group. Did you mean +experiment? Known here: budget,"),
        (["generate.temperature=nan", "plan=true"], 1, "error generate.temperature nan: not a finite number."),
        (["train.learning_rate=inf", "plan=true"], 1, "error train.learning_rate inf: not a finite number."),
        (["plan", "--cfg", "job", "-m"], 2, "error --cfg -m: Hydra answers one flag, for one point."),
        (["plan", "--cfg", "job", "nope=1"], 1, "error nope: no such field."),
        (["prepare", "sftt", "stages.txt"], 2, "error prepare sftt: no such script. Did you mean sft?"),
        (["prepare", "sft", "/nope/stages.txt"], 1, "error file /nope/stages.txt: its folder does not exist."),
        (["status", "seed=1"], 2, "error status seed=1: without effect"),
        (["--cfg", "job", "--resolve", "name=${oc.env:HOME}"], 1, "error name: ${oc.env:...} is refused"),
        (["hydra.verbose=true,false", "-m"], 1, "error hydra.verbose=true,false: a Hydra setting has one value"),
        (["pipeline=os"], 1, "error pipeline os: not part of this project"),
        (["store=", "plan=true"], 1, "error store '': empty."),
        (["store=/dev/null"], 1, "error store /dev/null: /dev/null is not a folder"),
    ],
)
def test_typing_errors_get_one_line_on_stderr(words: list[str], status: int, complaint: str) -> None:
    done = typed(*words)
    assert done.returncode == status
    assert done.stderr.startswith(complaint) and len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stdout and "error" not in done.stdout


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["--cfg"], 2, "sweep plan: argument -c/--cfg: expected one argument."),
        (["--cfg", "foo"], 2, "sweep plan: argument -c/--cfg: invalid choice: 'foo'"),
        (["--info", "foo"], 2, "sweep plan: argument -i/--info: invalid choice: 'foo'"),
        (["-p"], 2, "sweep plan: argument -p/--package: expected one argument."),
        (["--resolve"], 2, "--resolve: belongs to --cfg. Add --cfg job."),
        (["--cfg", "job", "--nope"], 2, "plan: --nope: no such option."),
        (["--cfg", "job", "-p", "nope"], 1, "--cfg=job --package=nope: package 'nope' not found in config."),
        (["--cfg", "job", "model=null"], 1, "model=null: not the name of an option."),
        (["--cfg", "job", "seed=1,2"], 1, "seed=1,2: several values, but Hydra's flags show one point."),
        (["--cfg", "job", "--resolve", "name=${no}"], 1, "name=${no}: name reads no, which does not exist."),
        (["-sc", "query=csh"], 2, "-sc: no such shell. Write -sc query=SHELL"),
        (["~seed"], 1, "~seed: model.seed reads it. Leave ~seed out."),
    ],
)
def test_errors_beside_hydras_flags_are_one_line(words: list[str], status: int, complaint: str) -> None:
    with pytest.raises(SweepError) as refused:
        perform(["plan", *words], Console())
    assert refused.value.exit_status == status
    assert str(refused.value).startswith(complaint) and len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("flags", [["--cfg", "job"], ["--cfg=job"], ["-c", "job"]])
def test_hydras_flags_take_options_of_the_command(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(["plan", *flags, "--store", "x y"], Console()) == 0
    assert "store: x y\n" in capsys.readouterr().out


def test_a_misspelt_option_of_a_group_is_answered_with_all_of_them() -> None:
    said = typed("model=qwen3_8").stderr
    names = sorted(path.stem for path in (PROJECT / "conf" / "model").glob("*.yaml"))
    assert said.endswith(f"Known here: {', '.join(names)}.\n")


def test_a_field_may_be_longer_than_the_name_of_a_file() -> None:
    lines = ",".join(f"'budget.max_thinking_tokens=null budget.waits={waits}'" for waits in range(1, 20))
    given = read(next(each for each in COMMANDS if each.name == "plan"), [f"also=[{lines}]", "-m"])
    assert given["overrides"] == [f"also=[{lines}]", "-m"]


def published_key() -> str:
    """The key of the result in results/published."""
    manifest = json.loads((PROJECT / "results/published/budget_scan/manifest.json").read_text(encoding="utf-8"))
    return manifest["product"].partition("/")[2]


def test_a_traceback_is_shown_on_request() -> None:
    assert "Traceback" in typed("modl=x", "--debug").stderr
    assert "Traceback" in typed("modl=x", SWEEP_DEBUG="1").stderr


@pytest.mark.slow
def test_run_is_the_command_without_the_word_and_plan_is_plan_true(tmp_path: Path) -> None:
    places = ["+experiment=smoke", "-m", f"store={tmp_path}/store", f"results={tmp_path}/results"]
    plans = [typed(*words, *places) for words in (["plan"], ["run", "plan=true"], ["plan=true"])]
    assert [each.returncode for each in plans] == [0, 0, 0]
    assert len({each.stdout for each in plans}) == 1 and "estimated" in plans[0].stdout
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_while_the_command_is_loading_is_one_word_and_130() -> None:
    code = (
        "import sys, sweep.__main__ as entry\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'sweep.console': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "raise SystemExit(entry.main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


AMONG_PUBLISHED = "--results results/published --store no_store"  # a store knows results elsewhere too
PUBLISHED = ["budget_scan", f"budget_scan/{published_key()}"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sweep stat", ["statistics.", "status"]),
        ("sweep store c", ["check"]),
        ("sweep status --w", ["--watch"]),
        ("sweep completion ", ["bash", "fish", "zsh"]),
        (f"sweep show {AMONG_PUBLISHED} b", PUBLISHED),
        (f"sweep show budget_scan {AMONG_PUBLISHED} b", []),
        (f"sweep merge a b {AMONG_PUBLISHED} budget_scan/", PUBLISHED[1:]),
        ("sweep show x --q", ["--question"]),
        ("sweep +exp", ["+experiment="]),
        ("sweep +experiment=paper/fig1", ["+experiment=paper/fig1_scaling"]),
        ("sweep run +experiment=smoke -m budget.wa", ["budget.waits="]),
        ("sweep task=aime24,aime25", ["task=aime24,aime25"]),
        ("sweep model=nothing_such", []),
    ],
)
def test_a_line_is_completed_with_commands_options_and_fields(line: str, expected: list[str]) -> None:
    assert candidates(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [("sweep sto", "store"), ("sweep model=qwen3_8", "qwen3_8b"), ("sweep logs --l", "--lines")],
)
def test_bash_completes_with_the_script(tmp_path: Path, line: str, expected: str) -> None:
    sweep = tmp_path / "sweep"
    sweep.write_text(f'#!/bin/bash\nPYTHONPATH={PROJECT} exec {sys.executable} -m sweep "$@"\n', encoding="utf-8")
    sweep.chmod(0o755)
    word = line.rpartition(" ")[2].rpartition("=")[2]
    ask = (
        f'eval "$(sweep completion bash)"; complete -p sweep; COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}};'
        f' compopt() {{ :; }}; _sweep_complete sweep "{word}"; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", ask], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    registered, *found = done.stdout.splitlines()
    assert "_sweep_complete sweep" in registered and expected in found


def test_only_what_runs_here_ends_with_the_status_of_a_limit() -> None:
    assert [each.name for each in COMMANDS if "  5    stopped by" in page(each)] == ["run", "plan"]
    assert "  5    stopped by" in overview()
