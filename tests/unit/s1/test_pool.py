"""Pools: rows of any source in one vocabulary; what is no candidate is counted, what cannot be read is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from s1.config.data import Columns, Conversation, Pool, PoolKind
from s1.config.schema import ConfigError, Hub
from s1.data.funnel import read_funnel
from s1.data.pool import pool_candidates, pool_rows, question_id
from s1.records import PoolRow, read_rows
from s1.stages import PoolConfig
from sweep.core.stage import Work

S1K = {
    "solution": "So 7. \\boxed{7}",
    "question": "What is 3 + 4?",
    "cot_type": "math",
    "source_type": "qfq/openaimath/Algebra",
    "metadata": "{'level': 1}",
    "cot": None,
    "thinking_trajectories": ["3 and 4 are 7."],
    "attempt": "The answer is 7.",
}
SKY_T1 = Conversation(
    column="conversations",
    role="from",
    text="value",
    user="user",
    assistant="assistant",
    thinking_start="<|begin_of_thought|>",
    thinking_end="<|end_of_thought|>",
    answer_start="<|begin_of_solution|>",
    answer_end="<|end_of_solution|>",
)


def pool(columns: Columns | None = None, conversation: Conversation | None = None) -> Pool:
    return Pool("mine", PoolKind.FILE, 1, columns=columns or Columns(), conversation=conversation)


def collected(place: Path, rows: list[dict], source: Pool, name: str = "pool.jsonl") -> list[PoolRow]:
    """The product of the stage over a file of these rows."""
    (place / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    out = place / "out"
    out.mkdir()
    inputs = {"file": (place / name,)}
    pool_rows(Work("key", PoolConfig(source), inputs, out, out, out, {}, lambda *_progress: None))
    return read_rows(out / "rows.jsonl", PoolRow)


def test_a_row_of_s1k_is_read_with_its_first_trace_and_the_key_that_s1_gives_it(tmp_path: Path) -> None:
    (row,) = collected(tmp_path, [S1K], pool())
    assert row == PoolRow(
        id=question_id("What is 3 + 4?"),
        question="What is 3 + 4?",
        solution="So 7. \\boxed{7}",
        source="qfq/openaimath/Algebra",
        domain=None,
        thinking="3 and 4 are 7.",
        answer="The answer is 7.",
    )
    assert len(row.id) == 16 and int(row.id, 16) >= 0


def test_a_chat_with_markers_is_divided_at_them(tmp_path: Path) -> None:
    reply = "<|begin_of_thought|>\n\nHm.\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n7\n<|end_of_solution|>"
    chat = [{"from": "user", "value": "What is 3 + 4?"}, {"from": "assistant", "value": reply}]
    (row,) = collected(tmp_path, [{"system": "Think.", "conversations": chat}], pool(conversation=SKY_T1))
    assert (row.question, row.thinking, row.answer, row.solution, row.source) == (
        *("What is 3 + 4?", "Hm.", "7"),
        *(None, "mine"),
    )


def test_a_chat_whose_thought_never_ends_has_no_trace(tmp_path: Path) -> None:
    chat = [{"from": "user", "value": "Q"}, {"from": "assistant", "value": "<|begin_of_thought|> on and on"}]
    (row,) = collected(tmp_path, [{"conversations": chat}], pool(conversation=SKY_T1))
    assert row.thinking is None and row.answer is None


def test_rows_without_a_question_and_questions_asked_before_are_counted_drops(tmp_path: Path) -> None:
    rows = [S1K, {**S1K, "question": "  "}, {**S1K, "question": None}, {**S1K, "attempt": "8"}]
    assert len(collected(tmp_path, rows, pool())) == 1
    (step,) = read_funnel(tmp_path / "out")
    assert (step.kept, step.dropped) == (1, {"no question": 2, "asked before": 1})


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.pool\.columns 'gold': no such column in mine \(columns: solution, "):
        collected(tmp_path, [S1K], pool(Columns(solution="gold")))


def test_a_pool_without_traces_is_read_for_a_teacher_to_answer(tmp_path: Path) -> None:
    columns = Columns("problem", "answer", source=None, thinking=None, answer=None)
    (row,) = collected(tmp_path, [{"problem": "What is 3 + 4?", "answer": 7}], pool(columns))
    assert (row.solution, row.thinking, row.answer, row.source) == ("7", None, None, "mine")


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text(json.dumps(S1K) + "\n{torn", encoding="utf-8")
    work = Work(
        "key",
        PoolConfig(pool()),
        {"file": (tmp_path / "pool.jsonl",)},
        *(tmp_path, tmp_path, tmp_path),
        {},
        lambda *_progress: None,
    )
    with pytest.raises(ConfigError, match="line 2: not JSON"):
        pool_rows(work)


def test_parquet_and_json_lines_give_the_same_rows(tmp_path: Path) -> None:
    from datasets import Dataset

    rows = [S1K, {**S1K, "question": "What is 5 + 4?"}]
    Dataset.from_list(rows).to_parquet(str(tmp_path / "pool.parquet"))
    out = tmp_path / "parquet"
    out.mkdir()
    inputs = {"file": (tmp_path / "pool.parquet",)}
    pool_rows(Work("key", PoolConfig(pool()), inputs, out, out, out, {}, lambda *_progress: None))
    assert read_rows(out / "rows.jsonl", PoolRow) == collected(tmp_path, rows, pool())


def test_a_file_without_any_question_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.pool mine: no row has a question"):
        pool_candidates(pool(), [{**S1K, "question": ""}])


def test_a_hub_that_cannot_be_reached_says_what_to_do_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for switch in ("huggingface_hub.constants.HF_HUB_OFFLINE", "datasets.config.HF_HUB_OFFLINE"):
        monkeypatch.setattr(switch, True)  # the variable is read when they are imported, and they may be
    far = Pool("far", PoolKind.HUB, 1, hub=Hub("nobody/nothing", "0" * 40, "train"))
    work = Work("key", PoolConfig(far), {}, tmp_path, tmp_path, tmp_path, {}, lambda *_progress: None)
    with pytest.raises(ConfigError, match=r"data\.pool\.hub nobody/nothing: commit 0{40} is not in .*local copy"):
        pool_rows(work)
