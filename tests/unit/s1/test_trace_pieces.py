"""From stored rows to the trace archive: how texts are divided, prompts rendered again, and questions aligned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s1.config.schema import ConfigError, ThinkingFormat
from s1.models.light_tokenizer import LightTokenizer, light_tokenizer
from s1.models.location import Location, tokenizer_at
from s1.records import AnswerEnd, Ending, Outcome, Question, ScoreRow, TraceRow, write_rows
from s1.report.trace_archive import Origin, Piece, TraceArchive, open_archive, pieces
from s1.report.trace_archive.pieces import ModelTexts, divided
from s1.report.trace_archive.row_files import RowFile
from s1.report.trace_archive.stage import graded, looping, trace_archive
from s1.stages import ArchivedScores, TraceArchiveConfig
from s1.stats.loops import loops
from tests.support.byte_models import TEMPLATE, byte_model
from tests.support.known import known
from tests.support.scans import work

FORMAT = ThinkingFormat(None, "<think>", ["</think>"], "</think>", "</think>Final:", ["<end>"], False)
GRIN = "😀"  # four tokens


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return byte_model(tmp_path_factory.mktemp("model") / "out")


@pytest.fixture(scope="module")
def light(model: Path) -> LightTokenizer:
    return known(light_tokenizer(model))


def row(light: LightTokenizer, *segments: tuple[str, str, str | list[int]], **given: Any) -> TraceRow:
    """A trace of segments (part, origin, text or ids); the origin "ended" is sampled until its stop."""
    stored = [
        {
            "part": part,
            "origin": "sampled" if origin == "ended" else origin,
            "ids": light.encode(text, add_special_tokens=False) if isinstance(text, str) else text,
            "ended_by": [4] if origin == "ended" else None,
        }
        for part, origin, text in segments
    ]
    thinking = [token for each in stored if each["part"] == "thinking" for token in each["ids"]]
    fields: dict[str, Any] = {
        "question_id": "q0",
        "sample": 0,
        "prompt_tokens": 1,
        "thinking": light.decode(thinking, skip_special_tokens=False),
        "answer": " 7",
        "ending": Ending.NATURAL,
        "thinking_tokens": len(thinking),
        "answer_tokens": 2,
        "answer_end": AnswerEnd.STOP,
        "thinks_on_tokens": 0,
        "waits": 0,
        "sampled_tokens": len(thinking),
    }
    return TraceRow(segments=stored, **{**fields, **given})


OPEN, CLOSE = ("delimiter", "forced", "<think>"), ("delimiter", "forced", "</think>")
ANSWER = ("answer", "ended", " 7")


def test_a_trace_with_a_wait_and_a_natural_end_is_divided(model: Path, light: LightTokenizer) -> None:
    waited = row(
        light,
        OPEN,
        ("thinking", "ended", f"a {GRIN}"),
        ("thinking", "forced", "Wait"),
        ("thinking", "ended", " b"),
        CLOSE,
        ANSWER,
    )
    texts = ModelTexts(model)
    assert texts.pieces(waited) == (
        Piece("<think>", Origin.DELIMITER),
        Piece(f"a {GRIN}", Origin.SAMPLED),
        Piece("Wait", Origin.APPENDED),
        Piece(" b", Origin.SAMPLED),
        Piece("</think>", Origin.DELIMITER),
    )
    assert texts.answer(waited) == " 7"


def test_a_cut_is_marked_whether_or_not_a_marker_was_written(model: Path, light: LightTokenizer) -> None:
    marked = row(
        light,
        OPEN,
        ("thinking", "sampled", "a"),
        ("delimiter", "forced", "</think>Final:"),
        ANSWER,
        ending=Ending.FORCED,
    )
    assert ModelTexts(model).pieces(marked)[-1] == Piece("</think>Final:", Origin.CUT)
    bare = row(light, OPEN, ("thinking", "sampled", "a"), ANSWER, ending=Ending.FORCED)
    assert ModelTexts(model).pieces(bare)[-1] == Piece("", Origin.CUT)


def test_an_end_that_nothing_replaced_is_an_empty_appended_piece(model: Path, light: LightTokenizer) -> None:
    suppressed = row(light, OPEN, ("thinking", "ended", "a"), ("thinking", "ended", "b"), CLOSE, ANSWER)
    origins = [(piece.text, piece.origin) for piece in ModelTexts(model).pieces(suppressed)[1:4]]
    assert origins == [("a", Origin.SAMPLED), ("", Origin.APPENDED), ("b", Origin.SAMPLED)]


@pytest.mark.parametrize("first", range(1, 4))
def test_a_character_that_spans_two_segments_belongs_to_the_later_one(
    model: Path, light: LightTokenizer, first: int
) -> None:
    ids = light.encode(GRIN, add_special_tokens=False)
    split = row(light, ("thinking", "sampled", ids[:first]), ("thinking", "forced", ids[first:]), ANSWER)
    assert [piece.text for piece in ModelTexts(model).pieces(split)] == ["", GRIN]


def test_a_tokenizer_that_drops_leading_spaces_is_divided_by_its_prefixes() -> None:
    """As tokenizers of the Llama 2 kind do: decoded alone, a part loses the space before its first word."""
    vocabulary = [" I", " add", " Wait", " no"]

    def decoded(ids: Sequence[int]) -> str:
        return "".join(vocabulary[token] for token in ids).removeprefix(" ")

    assert divided([[0, 1], [2], [], [3]], "I add Wait no", decoded) == ["I add", " Wait", "", " no"]
    assert divided([[0, 1], [2]], "I add, Wait", decoded) is None
    assert divided([[0]], "exactly what is known", decoded) == ["exactly what is known"]
    assert divided([[], []], "", decoded) == ["", ""] and divided([[]], "a", decoded) is None


class Otherwise:
    """A tokenizer of transformers that decodes otherwise than tokenizer.json."""

    chat_template = None

    def __init__(self, text: str) -> None:
        self.text, self.decoded = text, 0

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool) -> str:
        self.decoded += 1
        return self.text

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return [1]


def test_texts_that_tokenizer_json_does_not_give_are_read_by_transformers(
    model: Path, light: LightTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Otherwise("other text")
    monkeypatch.setattr(pieces, "tokenizer_at", lambda location: full)
    texts = ModelTexts(model)
    stored = row(light, ("thinking", "sampled", "a"), CLOSE, ANSWER, thinking="other text")
    assert texts.pieces(stored)[0] == Piece("other text", Origin.SAMPLED) and full.decoded


def test_a_text_that_no_tokenizer_gives_is_one_piece_of_unknown_origin(
    model: Path, light: LightTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "tokenizer_at", lambda location: Otherwise("not it"))
    stored = row(light, ("thinking", "sampled", "a"), ("thinking", "forced", "b"), ANSWER, thinking="what was written")
    assert ModelTexts(model).pieces(stored) == (Piece("what was written", Origin.UNKNOWN),)


# ----------------------------------------------------------------------------------------------------- prompts


def test_the_prompt_is_rendered_and_has_as_many_tokens_as_the_row_says(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "<end><user>What?<assistant>"
    assert ModelTexts(model).prompt(FORMAT, " What? ", 3 + len("What?")) == prompt
    monkeypatch.setattr(pieces, "tokenizer_at", lambda location: light_tokenizer(model))
    assert ModelTexts(model).prompt(FORMAT, "What?", 3 + len("What?") + 1) is None
    assert ModelTexts(model).prompt(replace(FORMAT, prompt="Q: {question}"), "x", 4) == "Q: x"


def test_a_prompt_with_the_date_of_generation_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = byte_model(tmp_path / "out", "{{ strftime_now('%Y') }}{{ messages[0].content }}")
    monkeypatch.setattr(pieces, "tokenizer_at", lambda location: light_tokenizer(folder))
    assert ModelTexts(folder).prompt(FORMAT, "What?", 4 + len("What?")) is None


@pytest.mark.slow  # imports transformers
@pytest.mark.parametrize(
    "template",
    [
        TEMPLATE,
        [{"name": "tool_use", "template": "no"}, {"name": "default", "template": TEMPLATE}],
        "{%- for m in messages %}\n  {{- m.role | upper ~ m.content | tojson }}\n{% endfor %}{{ eos_token ~ tools }}",
        "{% if enable_thinking is defined and not enable_thinking %}off{% else %}on{% endif %}{{ messages | length }}",
    ],
)
def test_a_light_tokenizer_agrees_with_transformers(tmp_path: Path, template: object) -> None:
    folder = byte_model(tmp_path / "out", template)
    light, full = known(light_tokenizer(folder)), tokenizer_at(Location(str(folder), None))
    chat = [{"role": "system", "content": f'é "{GRIN}" <b>'}, {"role": "user", "content": "<think> now?"}]
    given: list[dict[str, Any]] = [{}, {"enable_thinking": False}]
    for arguments in given:
        rendered = light.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **arguments)
        assert rendered == full.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **arguments)
    ids = light.encode(f"<think>é {GRIN}</think>\n", add_special_tokens=False)
    assert ids == full.encode(f"<think>é {GRIN}</think>\n", add_special_tokens=False)
    assert light.decode(ids[:-9], skip_special_tokens=False) == full.decode(ids[:-9], skip_special_tokens=False)
    assert len(light) == len(full)


def test_what_only_transformers_can_read_has_no_light_tokenizer(tmp_path: Path) -> None:
    generation = "{% for m in messages %}{%- generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    assert light_tokenizer(byte_model(tmp_path / "generation", generation)) is None
    assert light_tokenizer(byte_model(tmp_path / "named", [{"name": "rag", "template": "x"}])) is None
    (byte_model(tmp_path / "gone") / "tokenizer.json").unlink()
    assert light_tokenizer(tmp_path / "gone") is None


# ------------------------------------------------------------------------------------------------- rows and stage


def test_rows_are_found_by_question_whatever_the_order_of_columns(tmp_path: Path) -> None:
    score = ScoreRow('q"\\1', 1, "7", None, False, Outcome.NONE, Ending.NONE, 0, None, AnswerEnd.NONE, 0, 0, 0)
    path = tmp_path / "scores.jsonl"
    write_rows(path, [score, replace(score, question_id="é")])
    other = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    turned = dict(reversed(list({**other, "sample": 0}.items())))
    path.write_text(path.read_text(encoding="utf-8") + "\n" + json.dumps(turned), encoding="utf-8")
    rows = RowFile(path)
    assert rows.scores('q"\\1') == [replace(score, sample=0), score]
    assert rows.scores("é") == [replace(score, question_id="é")]
    with pytest.raises(ConfigError, match=r"has no question x. Run with redo=traces"):
        rows.scores("x")


def test_the_graded_text_is_what_the_scores_stage_gave_the_grader(light: LightTokenizer) -> None:
    stored = row(light, ANSWER, answer="It is 7. Or 8, or\n\nQuestion: no")

    def read(end: AnswerEnd, *stops: str) -> str:
        score = ScoreRow("q0", 0, "7", "7", True, Outcome.ANSWERED, Ending.NATURAL, 1, 1, end, 0, 0, 1)
        return graded(stored, score, stops)

    assert read(AnswerEnd.STOP) == stored.answer
    assert read(AnswerEnd.STOP, "Question:", "\n\n") == "It is 7. Or 8, or"
    assert read(AnswerEnd.CONTEXT) == ""
    assert read(AnswerEnd.CAP) == "It is 7. Or 8, or\n\n"


def test_loops_are_those_of_each_thinking_although_few_are_searched(light: LightTokenizer) -> None:
    whole = [*range(100), *([7, 8] * 60), *range(200, 300)]
    other = list(range(400))
    rows = [row(light, ("thinking", "sampled", ids[:cut])) for ids in (whole, other) for cut in range(0, 400, 13)]
    expected = [loops(np.array(each.segments[0]["ids"], dtype=np.int64)) for each in rows]
    assert looping(rows) == expected and True in expected and False in expected


def stage_archive(tmp_path: Path, model: Path, light: LightTokenizer) -> TraceArchive:
    """Two tasks; two seeds of one of them; an instruction; and two points over the same samples."""
    asked = {
        "plain": [Question("q0", "Add.", "7"), Question("q1", "Take.", "8")],
        "told": [Question("q1", "Take. Think briefly.", "8"), Question("q0", "Add. Think briefly.", "7")],
        "other": [Question("q0", "Choose.", "A")],
    }
    points = [
        ("dial", "plain", 0, "k0"),
        ("dial", "plain", 1, "k1"),
        ("dial", "told", 0, "k2"),
        ("gpqa", "other", 0, "k3"),
    ]
    roles: dict[str, list[Path]] = {"scores": [], "traces": [], "questions": [], "model": []}
    for _, questions, _, key in points:
        for role, name in {"scores": key, "traces": key, "questions": questions}.items():
            roles[role].append(tmp_path / role / name / "out")
            roles[role][-1].mkdir(parents=True, exist_ok=True)
        roles["model"].append(model)
        write_rows(roles["questions"][-1] / "questions.jsonl", asked[questions])
        traces, scores = [], []
        for question in asked[questions]:
            tokens = len(light.encode(question.prompt, add_special_tokens=False)) + 3
            for sample in range(2):
                stored = row(
                    light,
                    OPEN,
                    ("thinking", "ended", f"{key} {sample}"),
                    CLOSE,
                    ANSWER,
                    sample=sample,
                    prompt_tokens=tokens,
                )
                traces.append(replace(stored, question_id=question.question_id))
                scores.append(
                    ScoreRow(
                        question.question_id,
                        sample,
                        question.gold,
                        "7",
                        sample == 0,
                        Outcome.ANSWERED,
                        Ending.NATURAL,
                        4,
                        2,
                        AnswerEnd.STOP,
                        0,
                        0,
                        6,
                        branches=3,
                    )
                )
        write_rows(roles["traces"][-1] / "traces.jsonl", traces)
        write_rows(roles["scores"][-1] / "scores.jsonl", scores)
    config = TraceArchiveConfig([ArchivedScores(task, [], FORMAT) for task, *_ in points])
    curve = tmp_path / "curve" / "c0" / "out"
    curve.mkdir(parents=True)
    (curve / "curve.json").write_text(
        json.dumps(
            {
                "series": [
                    {
                        "name": "one",
                        "points": [_point("max 8", {}, ["k0", "k1"]), _point("vote", {"votes": 2}, ["k0", "k1"])],
                    },
                    {
                        "name": "two",
                        "points": [_point("max 8", {}, ["k0", "k1"]), _point("told", {}, ["k2"], ["a trace broke it"])],
                    },
                    {"name": "gpqa", "points": [_point("max 8", {}, ["k3"])]},
                ]
            }
        ),
        encoding="utf-8",
    )
    given = work(config, {"curve": [curve], **roles}, tmp_path / "trace_archive" / "a0" / "out")
    assert trace_archive(given)["questions"] == 3
    return open_archive(given.out)


def _point(label: str, request: object, keys: list[str], problems: Sequence[str] = ()) -> dict[str, object]:
    sources = [{"key": key, "digest": f"{key}digest", "seed": seed} for seed, key in enumerate(keys)]
    return {
        "label": label,
        "request": request,
        "values": {"x": label},
        "samples": 2,
        "sources": sources,
        "audit": {"problems": list(problems)},
    }


def test_the_stage_aligns_questions_of_tasks_seeds_and_instructions(
    tmp_path: Path, model: Path, light: LightTokenizer
) -> None:
    archive = stage_archive(tmp_path, model, light)
    assert [(each.task, each.question_id, each.gold) for each in archive.questions] == [
        ("dial", "q0", "7"),
        ("dial", "q1", "8"),
        ("gpqa", "q0", "A"),
    ]
    assert [(each.label, each.series, each.seeds, each.valid) for each in archive.points] == [
        ("max 8", ("one", "two"), (0, 1), True),
        ("vote", ("one",), (0, 1), True),
        ("told", ("two",), (0,), False),
        ("max 8", ("gpqa",), (0,), True),
    ]
    told = archive.trace(0, 2, seed=0, sample=1)
    assert told.question == "Add. Think briefly." and archive.question(0).text == "Add."
    assert told.prompt == "<end><user>Add. Think briefly.<assistant>"
    assert told.thinking[1] == Piece("k2 1", Origin.SAMPLED) and (told.correct, told.branches) == (False, 3)
    assert archive.trace(1, 1, seed=1).thinking == archive.trace(1, 0, seed=1).thinking
    assert archive.cell_or_none(2, 0, 0) is None and archive.cell(2, 3, 0).extracted == "7"


def test_scores_and_traces_of_other_numbers_of_samples_are_refused(
    tmp_path: Path, model: Path, light: LightTokenizer
) -> None:
    stage_archive(tmp_path, model, light)
    path = tmp_path / "traces" / "k0" / "out" / "traces.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"question q0: 2 scores, 1 traces. Run with redo=scores"):
        again = tmp_path / "trace_archive" / "a0" / "out"
        again.rename(tmp_path / "earlier")
        roles = {role: [tmp_path / role / "k0" / "out"] for role in ("scores", "traces")}
        given = {"curve": [tmp_path / "curve" / "c0" / "out"], "questions": [tmp_path / "questions" / "plain" / "out"]}
        (given["curve"][0] / "curve.json").write_text(
            json.dumps({"series": [{"name": "", "points": [_point("p", {}, ["k0"])]}]}), encoding="utf-8"
        )
        config = TraceArchiveConfig([ArchivedScores("dial", [], FORMAT)])
        trace_archive(work(config, {**given, **roles, "model": [model]}, again))
