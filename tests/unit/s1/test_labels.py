"""Domains: the list a labeller is shown, how its reply is read, and the stage over real HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from s1.data.chat_client import EndpointError
from s1.data.chat_requests import labelled, labelled_rows, msc_classes, system_prompt
from s1.data.funnel import read_funnel
from s1.data.replies import ReplyFault, reply_of
from s1.records import PoolRow, read_rows
from s1.stages import LabelledConfig
from tests.support.teachers import ASKED, Spoken, completion, lay_out, rows, teaching, work

ROW = rows(1)[0]


def test_a_labeller_is_shown_the_classes_and_told_how_to_end(golden: Callable[[str, str], None]) -> None:
    golden("prompts/msc.txt", system_prompt(msc_classes()) + "\n")


def test_the_classes_are_the_61_two_digit_codes_of_s1() -> None:
    codes = list(msc_classes())
    assert len(codes) == len(set(msc_classes().values())) == 61
    assert codes == sorted(codes) and all(len(code) == 2 and code.isdigit() for code in codes)
    assert not {"00", "01"} & set(codes)


@pytest.mark.parametrize(
    ("said", "domain"),
    [
        ("51", "Geometry"),
        ("It is about circles, though 11 comes near.\n\n51\n", "Geometry"),
        ("The subject is **05**.", "Combinatorics"),
        ("(11)", "Number theory"),
    ],
)
def test_a_domain_is_the_title_of_the_code_that_a_reply_ends_in(said: str, domain: str) -> None:
    reply = reply_of(ROW.id, completion(said))
    assert reply is not None
    assert labelled(msc_classes(), ROW, reply) == replace(ROW, domain=domain)


@pytest.mark.parametrize("said", ["", "Geometry", "51 Geometry", "00", "99", "151", "5", "MSC 51-XX", None])
def test_a_reply_that_ends_in_no_known_code_is_no_domain(said: str | None) -> None:
    reply = reply_of(ROW.id, completion(said))
    assert reply is not None
    assert labelled(msc_classes(), ROW, reply) is ReplyFault.NO_DOMAIN


def test_every_row_gets_its_domain_and_keeps_the_rest(tmp_path: Path) -> None:
    pool = lay_out(tmp_path)

    def say(question: str, nth: int) -> Spoken:
        return Spoken(completion("I cannot say." if question == "Question 3?" else "Numbers.\n11"))

    with teaching(say) as teacher:
        summary = labelled_rows(work(pool, teacher.base_url, LabelledConfig(ASKED)))
    made = read_rows(tmp_path / "out" / "rows.jsonl", PoolRow)
    assert made == [replace(row, domain="Number theory") for row in rows(12) if row.question != "Question 3?"]
    assert read_funnel(tmp_path / "out")[-1].dropped == {"no domain": 1}
    assert (summary["rows"], summary["dropped"]) == (11, 1)
    assert teacher.requests[0]["messages"][0] == {"role": "system", "content": system_prompt(msc_classes())}


def test_words_of_your_own_replace_the_prompt_and_the_codes_stay(tmp_path: Path) -> None:
    own = LabelledConfig(replace(ASKED, system="Name the MSC class."))
    with teaching(lambda question, nth: Spoken(completion("54"))) as teacher:
        labelled_rows(work(lay_out(tmp_path), teacher.base_url, own))
    assert teacher.requests[0]["messages"][0]["content"] == "Name the MSC class."


def test_a_labeller_that_never_names_a_code_is_refused(tmp_path: Path) -> None:
    with teaching(lambda question, nth: Spoken(completion("Geometry!"))) as teacher:
        complaint = r"none of its first 8 replies is usable \(8 no domain\)\. .*code of the list"
        with pytest.raises(EndpointError, match=complaint):
            labelled_rows(work(lay_out(tmp_path), teacher.base_url, LabelledConfig(ASKED)))
