"""A recorded command composes to the same points as the typed one."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from s1 import pipeline
from sweep.config.compose import CONFIG as REAL_CONFIG
from sweep.config.compose import Composition, compose
from sweep.core.provenance import PROJECT
from sweep.errors import InputError
from tests.support.toy_texts import Point

CONFIG = PROJECT / "tests" / "support" / "toy_texts_conf"
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a composition takes a tenth of a second: no shrinking
NOT_RECORDED = ["plan=true", "yes=true", "store=/tmp/a store", "results=out", "launch.partition=main", "launch.kind=x"]


def points(*argv: str) -> Composition:
    return compose(argv, CONFIG)


def texts(*argv: str) -> list[object]:
    return [point.text for point in points(*argv).points]


def again(composition: Composition, config: Path = CONFIG) -> Composition:
    """The recorded command, given to a shell."""
    python, m, sweep, *argv = shlex.split(composition.request.command)
    assert (python, m, sweep) == ("python", "-m", "sweep")
    return compose(argv, config)


def made(composition: Composition) -> str:
    """All that a result depends on."""
    request = composition.request
    apart: list[Point] = [replace(point, launch={}) for point in composition.points]
    return repr((apart, request.values, request.command))


def hydra_quoted(text: str, quote: str) -> str:
    """As a person quotes a text for Hydra: a quote inside, and backslashes before one, are escaped."""
    written = ""
    for place, character in enumerate(text):
        rest = text[place:].lstrip("\\")
        doubled = character == quote or (character == "\\" and (quote == '"' or rest[:1] in ("", quote)))
        written += f"\\{character}" if doubled else character
    return f"{quote}{written}{quote}"


LETTERS = st.sampled_from([*"abnt 0=,'\"\\$[]{}():;|*~\n\t", "é", "語", "\\n", "\\t", "${name}", "null", "\\text", "#"])
TEXT = st.lists(LETTERS, max_size=6).map("".join)
TOKENS = st.sampled_from(
    [
        "null",
        "007",
        "1_000",
        "1e5",
        "inf",
        "nan",
        "true",
        "-3",
        "abc",
        "a b",
        "a=b",
        "a\\,b",
        "[1,'x y']",
        "{a:1}",
        "''",
    ]
)
QUOTED = st.builds(hydra_quoted, TEXT, st.sampled_from(["'", '"']))
ESCAPED = st.sampled_from(['"\\n\\nWait"', '"a\\tb"', '"a\\\\nb"', '"\\boxed{}"', "'\\n'", '"\\"\\n\\""', '"\\\\\\""'])
VALUE = st.one_of(TOKENS, QUOTED, ESCAPED)
CHOICES = st.lists(VALUE, min_size=2, max_size=3).map(",".join)
WORD = st.one_of(QUOTED, ESCAPED, st.sampled_from(["Hmm", "null", "1,2", "007"]))
LINE = st.one_of(
    st.builds("budget.words={} budget.waits={}".format, WORD, st.sampled_from(["0", "1,2", "geomspace(1,9,3)"])),
    st.builds("{}".format, st.builds(shlex.quote, st.builds("text={}".format, WORD))),
    st.sampled_from(["budget.cap=null", "model=large budget.cap=3", "model.size=7", "style@model.style=think"]),
)
ALSO = st.builds(
    lambda lines, quote: f"also=[{','.join(hydra_quoted(line, quote) for line in lines)}]",
    st.lists(LINE, max_size=3),
    st.sampled_from(["'", '"']),
)
ARGUMENT = {
    "text": st.one_of(VALUE, CHOICES).map("text={}".format),
    "other": st.one_of(VALUE, CHOICES).map("other={}".format),
    "budget.cap": st.sampled_from(["geomspace(8,64,4)", "1_0,2", "null", "range(1,4)", "null,4"]).map(
        "budget.cap={}".format
    ),
    "model": st.sampled_from(["model=small,large", "model=large"]),
    "style": st.sampled_from(["style@model.style=plain,think", "style@model.style=think"]),
    "experiment": st.just("+experiment=scan"),
    "where": st.sampled_from(["where=${store}/rows", "where=${launch.partition},b", "where=store"]),
    "also": ALSO,
}
COMMAND = st.builds(
    lambda chosen, places, unrecorded: [*(chosen[place] for place in places if place in chosen), *unrecorded, "-m"],
    st.fixed_dictionaries({}, optional=ARGUMENT),
    st.permutations(list(ARGUMENT)),
    st.lists(st.sampled_from(NOT_RECORDED), max_size=2, unique_by=lambda each: each.partition("=")[0]),
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(argv=COMMAND)
def test_the_recorded_command_composes_to_the_same_points_and_records_itself(argv: list[str]) -> None:
    try:
        composition = points(*argv)
    except InputError:
        return  # refused: nothing is recorded
    assert made(again(composition)) == made(composition)


@pytest.mark.slow
@settings(max_examples=15, deadline=None, phases=PHASES)
@given(text=TEXT, quote=st.sampled_from(["'", '"']))
def test_every_text_can_be_typed_in_quotes_alone_as_an_axis_and_in_also(text: str, quote: str) -> None:
    text = re.sub(r"\$+(?=\{)", "", text)  # an interpolation is another thing
    value = hydra_quoted(text, quote)
    line = f"text={value}"
    assert texts(f"text={value}") == [text]
    assert texts(f"text={value},x", "-m") == list(dict.fromkeys([text, "x"]))
    assert texts("text=x", f"also=[{hydra_quoted(line, chr(39))}]", "-m") == list(dict.fromkeys(["x", text]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"\\n\\nWait"', "\n\nWait"),
        ('"a\\tb"', "a\tb"),
        ('"a\\\\nb"', "a\\nb"),
        ('"a\\\\"', "a\\"),
        ('"say \\"Wait\\"\\n"', 'say "Wait"\n'),
        ('"\\boxed{}"', "\\boxed{}"),
        ("'\\n\\nWait'", "\\n\\nWait"),
        ("'a\\\\nb'", "a\\\\nb"),
        ('"\n"', "\n"),
        ('"\\\\neq"', "\\neq"),
        ('"\\nWait"', "\nWait"),
    ],
)
def test_double_quotes_have_escapes_and_single_quotes_have_none(value: str, text: str) -> None:
    assert texts(f"text={value}") == [text]
    assert texts(f"text={value},x", "-m") == [text, "x"]
    assert texts("text=x", f"also=[{hydra_quoted(f'text={value}', chr(39))}]", "-m") == ["x", text]


@pytest.mark.parametrize("command", ["neq", "text", "times", "nabla", "theta"])
def test_what_may_be_tex_or_an_escape_is_refused_in_double_quotes_and_names_both(command: str) -> None:
    with pytest.raises(InputError, match=rf"\\{command} in double quotes may be TeX, or a (newline|tab) before"):
        points(f'text="\\{command} x"')
    assert texts(f"text='\\{command} x'") == texts(f'text="\\\\{command} x"') == [f"\\{command} x"]


def test_a_command_with_new_lines_is_recorded_on_one_line() -> None:
    composition = points('text="\n\nWait\\\\"', "also=[\"text='a\nb'\"]", "-m")
    assert [point.text for point in composition.points] == ["\n\nWait\\", "a\nb"]
    assert composition.request.command.splitlines() == [composition.request.command]
    assert made(again(composition)) == made(composition)


def test_typed_lines_run_beside_an_axis_on_the_same_field_and_are_recorded() -> None:
    typed = [f"budget.cap=null budget.waits={waits}" for waits in range(15)]
    argv = ["budget.cap=geomspace(8,512,24)", f"also={typed}", "-m"]
    composition = points("+experiment=scan", *argv)
    assert len(composition.points) == 24 + 15
    assert shlex.split(composition.request.command)[3:] == ["+experiment=scan", *argv]


def test_an_empty_also_takes_the_experiments_lines_away_and_is_recorded() -> None:
    composition = points("+experiment=scan", "also=[]", "-m")
    assert [point.budget.cap for point in composition.points] == [8, 16]
    assert composition.request.command == "python -m sweep +experiment=scan 'also=[]' -m"


def test_the_experiments_lines_stand_beside_the_grid_and_may_have_axes_of_their_own() -> None:
    budgets = [point.budget for point in points("+experiment=scan", "-m").points]
    assert [(each.cap, each.waits, each.words) for each in budgets] == [
        (8, 0, "Wait"),
        (16, 0, "Wait"),
        (None, 0, "Wait"),
        (None, 1, "Wait"),
        (None, 2, "Wait"),
        (8, 3, "\n\nHmm"),
        (16, 3, "\n\nHmm"),
    ]


def test_a_line_of_the_experiment_on_a_typed_field_is_dropped_with_a_note() -> None:
    composition = points("+experiment=scan", "budget.cap=4,12", "-m")
    assert [(point.budget.cap, point.budget.waits) for point in composition.points] == [
        (4, 0),
        (12, 0),
        (4, 3),
        (12, 3),
    ]
    assert len(composition.notes) == 2
    assert composition.notes[0].startswith("also 'budget.cap=null' is dropped: the command line sets budget.cap.")


def test_an_interpolation_in_an_experiments_axis_is_each_points_own() -> None:
    assert texts("+experiment=scan", "also=[]", "-m") == ["scan of 8", "scan of 16"]


def test_an_interpolation_in_a_line_is_each_points_own() -> None:
    argv = ("budget.cap=1,2", "also=['text=cap${budget.cap}']", "-m")
    assert texts(*argv) == ["", "", "cap1", "cap2"]


def test_the_same_point_named_twice_is_one_point() -> None:
    argv = ("budget.cap=1,2,2", "also=['budget.cap=1','budget.cap=3','budget.cap=3']", "-m")
    assert [point.budget.cap for point in points(*argv).points] == [1, 2, 3]


def test_fields_that_a_point_depends_on_are_recorded() -> None:
    reads = points("where=${store}/rows", "store=/tmp/x", "plan=true").request.command
    assert reads == "python -m sweep 'where=${store}/rows' store=/tmp/x"
    assert points("where=store", "store=/tmp/x").request.command == "python -m sweep where=store"
    assert (
        points("pipeline=tests.support.toy_texts").request.command == "python -m sweep pipeline=tests.support.toy_texts"
    )


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["budget.cap=1,2", "budget.cap=3,4", "-m"], "budget.cap is set twice. Write one list"),
        (["budget.cap=1,2", "budget.cap=3", "-m"], "budget.cap is set twice"),
        (["model=small,large", "model={size:1},{size:2}", "-m"], "model is set twice"),
        (["style@model.style=plain,think", "model.style={start:a}", "-m"], "model.style is set twice"),
        (["store=a,b", "-m"], "store=a,b: several values, but a command has one store. Give one."),
        (["plan=true,false", "-m"], "a command has one plan"),
        (["launch.kind=a,b", "-m"], "a command has one launch.kind"),
        (["also=[a],[b]", "-m"], "a command has one also"),
        (["also=['budget.cap=1']"], "also 'budget.cap=1': it adds points, so the command is a sweep. Add -m."),
        (["also=[budget.cap=1]", "-m"], "also=[budget.cap=1]: not a list of texts. Quote each line"),
        (["also='budget.cap=1'", "-m"], "also 'budget.cap=1': not a list. Write it in brackets: also=[...]."),
        (["also=['plan=true']", "-m"], "also 'plan=true': plan belongs to the command, not to a point."),
        (["also=['budget.cap=1 store=x']", "-m"], "store belongs to the command, not to a point."),
        (["also=['also=[]']", "-m"], "also belongs to the command, not to a point."),
        (["also=['launch.kind=slurm']", "-m"], "launch.kind belongs to the command, not to a point."),
        (["also=['+experiment=scan']", "-m"], "experiment belongs to the command, not to a point."),
        (["also=['hydra.mode=RUN']", "-m"], "hydra.mode belongs to the command, not to a point."),
        (["also=['budget.cap=1,2 budget.cap=3']", "-m"], "budget.cap is set twice"),
        (["also=['budget.cap=x']", "-m"], "budget.cap 'x': input should be a valid integer"),
        (["also=['text=\"a']", "-m"], "a quote is not closed, or is outside a value."),
        (["also=['']", "-m"], "also '': empty."),
        (["also=['budget.cap']", "-m"], "also 'budget.cap': "),
        (["budget.cap=glob(*)", "-m"], "budget.cap=glob(*): no values. List the values you want."),
        (
            ["text=W\u00e4it", "-m"],
            "text=W\u00e4it: has a character that must stand in quotes. Write 'text=\"W\u00e4it\"'.",
        ),
        (["text=shuffle(1,2,3)", "-m"], "text=shuffle(1,2,3): shuffles in a different order each time."),
    ],
)
def test_meaningless_overrides_are_refused(argv: list[str], complaint: str) -> None:
    with pytest.raises(InputError) as refused:
        points(*argv)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    "argv",
    [
        "+experiment=budget_scan 'budget.max_thinking_tokens=geomspace(8,256,6)' also=['budget.waits=1,2'] seed=1 -m",
        "+experiment=smoke budget.max_thinking_tokens=16,383 also=[] yes=true results=elsewhere -m",
        """budget=wait budget.waits=1,2 'budget.continuation="\\n\\nWait","Hmm, so",Wait' store=/tmp/x -m""",
        """task=dial 'task.instruction="Think for 1_000 tokens.","Don'"'"'t \\"hurry\\"."' generate.share=false -m""",
    ],
)
def test_a_recorded_command_has_the_same_stages(argv: str) -> None:
    composition = compose(shlex.split(argv.replace("['", "\"['").replace("']", "']\"")), REAL_CONFIG)
    recomposed = again(composition, REAL_CONFIG)
    first, second = (pipeline.graph(each.points, each.request) for each in (composition, recomposed))
    assert first.artifact.key == second.artifact.key
