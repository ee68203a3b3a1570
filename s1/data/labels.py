"""A domain for every row, told by a model behind an OpenAI-compatible endpoint (paper, section 2.2).

The domains are the 61 classes of the Mathematics Subject Classification 2020 that s1 used: all of its two-digit codes
but 00 and 01, general matters and history. A reply must end in a code of the list (msc.json); one that does not is a
drop. A domain is named by its title, as in s1's sets.
Input, product and cost: s1/data/inquiry.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from s1.data.inquiry import inquire
from s1.data.replies import Fault, Reply, fault_of
from s1.records import PoolRow
from s1.stages import Labelling
from sweep.stage import Summary, Work

CODE_AT_THE_END = re.compile(r"(?<!\d)(\d\d)\W*\Z")  # "51", "Code: 51.", "**51**"


def label(work: Work[Labelling]) -> Summary:
    """Ask for the domain of every question; `settings` is the endpoint. Raises EndpointError."""
    classes = msc_classes()
    asking = work.config.asked
    if asking.system is None:
        asking = replace(asking, system=system_prompt(classes))
    return inquire(work, asking, partial(labelled, classes), step="labelled")


def msc_classes() -> dict[str, str]:
    """Title by two-digit code."""
    return json.loads(Path(__file__).with_name("msc.json").read_text(encoding="utf-8"))


def system_prompt(classes: Mapping[str, str]) -> str:
    """What a labeller is told where the config has no words of its own."""
    listed = "\n".join(f"{code} {title}" for code, title in classes.items())
    return (
        "You sort questions by subject. Do not answer the question you are given: say in a sentence or two which of the"
        " subjects below it belongs to most, whatever else it touches. End with a line that holds nothing but the"
        f" two-digit code of that subject.\n\n{listed}"
    )


def labelled(classes: Mapping[str, str], row: PoolRow, reply: Reply) -> PoolRow | Fault:
    """The row with the title of the class its reply ends in."""
    if fault := fault_of(reply):
        return fault
    found = CODE_AT_THE_END.search(reply.content or "")
    if found is None or found[1] not in classes:
        return Fault.NO_DOMAIN
    return replace(row, domain=classes[found[1]])
