"""Chat requests to a model behind an endpoint, one per row: teachers write traces, labellers name domains.

Input `rows`: rows.jsonl of records.PoolRow and funnel.json. Product:

    rows.jsonl      PoolRow, those whose reply could be used, in the order of the input
    answers.jsonl   replies.Reply, as the server gave them, dropped ones too: they are paid for
    usage.jsonl     Usage, one for each of these, at the endpoint's prices
    funnel.json     the input's, and a step of this stage: how many are left, how many were dropped and why

Replies are kept in the stage's scratch as they come (s1/data/reply_journal.py), so an attempt that was killed is
continued by
asking only what is missing. The first questions are a trial: if no reply to them can be used, neither will the rest,
and the stage ends before it costs more.

Traces by a teacher behind an endpoint: the question alone is asked, thinking and answer are kept apart (paper, 2.1).

Input, product and cost: s1/data/chat_requests.py. Where a teacher's thoughts are found: s1/data/replies.py.

A domain for every row, told by a model behind an OpenAI-compatible endpoint (paper, section 2.2).

The domains are the 61 classes of the Mathematics Subject Classification 2020 that s1 used: all of its two-digit codes
but 00 and 01, general matters and history. A reply must end in a code of the list (msc.json); one that does not is a
drop. A domain is named by its title, as in s1's sets.
Input, product and cost: s1/data/chat_requests.py.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from s1.config.data import Endpoint
from s1.config.schema import ConfigError
from s1.data.chat_client import ChatClient, EndpointError
from s1.data.funnel import Drop, funnel_step, read_funnel, write_funnel
from s1.data.replies import AlteredReply, Reply, ReplyFault, fault_of, with_thinking
from s1.data.reply_journal import REPLIES_FILE, ReplyJournal
from s1.records import ROWS, PoolRow, read_rows, write_rows
from s1.stages import ChatConfig, LabelledConfig
from sweep.core.stage import Summary, Work
from sweep.core.typed import typed

USAGE = "usage.jsonl"
TRIAL = 8  # questions; one of the replies must be of use before more are asked
FIXES = {
    ReplyFault.NO_THOUGHTS: "It shows no thoughts, or the server leaves them in the text: start vLLM with"
    " --reasoning-parser"
    " and the name of the model's parser, or choose a teacher that returns its reasoning.",
    ReplyFault.CUT: "Raise its max_tokens.",
    ReplyFault.REFUSED: "Change what it is asked with, or choose another model.",
    ReplyFault.INTERRUPTED: "Try again later, or choose another provider.",
    ReplyFault.NO_ANSWER: "All of its reply is thoughts: the server's reasoning parser may be another model's.",
    ReplyFault.NO_TEXT: "It sends half characters, or bytes that are no UTF-8: correct the server.",
    ReplyFault.KEY: "The server repeats the key that it is sent: correct the server, and change the key.",
    ReplyFault.NO_DOMAIN: "It does not end its reply in a code of the list: choose a model that follows instructions.",
}

Read: TypeAlias = Callable[[PoolRow, Reply], "PoolRow | ReplyFault"]


class ParseReply(Protocol):
    async def __call__(self, row_id: str, question: str) -> Reply:
        """The reply to one question. Raises EndpointError when it makes no sense to ask on."""
        ...


@dataclass(frozen=True)
class ChatUsage:
    """What one reply took. None: the server did not say."""

    id: str
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None  # thoughts included
    usd: float | None  # at the prices of the endpoint's config


@dataclass(frozen=True)
class ChatRequests:
    """Which rows to ask about, how to read a reply, and where replies are kept."""

    model: str
    rows: Sequence[PoolRow]
    read: Read
    journal: ReplyJournal
    report: Callable[[int, int, str], None]

    async def run(self, ask: ParseReply, endpoint: Endpoint) -> None:
        """Ask about the rows without a reply, in order. Raises EndpointError; what was heard until then is kept."""
        await self._ask_about(self.rows[:TRIAL], ask, endpoint)
        self._judge_trial()
        await self._ask_about(self.rows, ask, endpoint)

    def outcomes(self) -> Iterator[PoolRow | ReplyFault]:
        """What became of every row that has a reply."""
        replies = self.journal.replies
        return (self.read(row, replies[row.id]) for row in self.rows if row.id in replies)

    async def _ask_about(self, rows: Sequence[PoolRow], ask: ParseReply, endpoint: Endpoint) -> None:
        """No faster than the endpoint allows. After a failure nothing more is sent; what is in flight is awaited."""
        missing = {row.id: row for row in rows if row.id not in self.journal.replies}
        slots, failures = asyncio.Semaphore(endpoint.concurrency), list[BaseException]()

        async def one(row: PoolRow) -> None:
            self._hear(await ask(row.id, row.question))

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()):
                failures.append(error)
            slots.release()

        asked: list[asyncio.Task[None]] = []
        for row in missing.values():
            await slots.acquire()
            if failures:
                break
            asked.append(asyncio.create_task(one(row)))
            asked[-1].add_done_callback(ended)
            await asyncio.sleep(60 / endpoint.requests_per_minute if endpoint.requests_per_minute else 0)
        await asyncio.gather(*asked, return_exceptions=True)  # whatever failed: replies in flight are paid for
        if failures:
            raise failures[0]  # a full disk, say: the first says it all

    def _hear(self, reply: Reply) -> None:
        self.journal.add(reply)
        self.report(len(self.journal.replies), len(self.rows), "rows")

    def _judge_trial(self) -> None:
        """Raises EndpointError, and begins the journal anew, if no reply so far is of use."""
        heard = list(self.outcomes())
        faults = Counter(each for each in heard if isinstance(each, ReplyFault)).most_common()
        if sum(count for _, count in faults) < len(heard):
            return
        self.journal.set_aside()
        told = ", ".join(f"{count} {fault.value}" for fault, count in faults)
        words = next((f" It says: {each.refusal}" for each in self.journal.replies.values() if each.refusal), "")
        raise EndpointError(
            f"model {self.model}: none of its first {len(heard)} replies can be used ({told}).{words}"
            f" {FIXES[faults[0][0]]}"
        )


def send_chat_requests(work: Work[Any], asking: ChatConfig, read: Read, step: str) -> Summary:
    """The whole of a stage that asks a model about every row. Raises EndpointError, ConfigError."""
    rows = read_rows(work.one("rows") / ROWS, PoolRow)
    if not rows:
        raise ConfigError(f"{work.one('rows')}: no rows to ask about. See its funnel.json for what dropped them.")
    endpoint = typed(Endpoint, {field.name: work.settings[field.name] for field in fields(Endpoint)})
    with ReplyJournal(work.scratch) as journal:
        known = len(journal.replies)
        inquiry = ChatRequests(asking.model, rows, read, journal, work.report)
        asyncio.run(_ask(inquiry, endpoint, asking))
    outcomes = list(inquiry.outcomes())
    kept = [each for each in outcomes if isinstance(each, PoolRow)]
    drops = [Drop(row, each.value) for row, each in zip(rows, outcomes, strict=True) if isinstance(each, ReplyFault)]
    replies = [journal.replies[row_id] for row_id in dict.fromkeys(row.id for row in rows)]
    usage = [_usage(reply, endpoint) for reply in replies]
    write_rows(work.out / ROWS, kept)
    write_rows(work.out / REPLIES_FILE, replies)
    write_rows(work.out / USAGE, usage)
    write_funnel(work.out, [*read_funnel(work.one("rows")), funnel_step(step, kept, drops)])
    summary = {"rows": len(kept), "dropped": len(drops), "asked": len(replies) - known, **_totals(usage)}
    seldom = {
        "damaged_replies": journal.damaged_lines,
        "replies_with_the_key": sum(_shows_key(reply) for reply in replies),
    }
    return {**summary, **{name: count for name, count in seldom.items() if count}}


def _shows_key(reply: Reply) -> bool:
    """Whether the server repeated the API key in it; there is none in what was kept."""
    return AlteredReply.KEY.value in (reply.altered or {}).values()


async def _ask(inquiry: ChatRequests, endpoint: Endpoint, asking: ChatConfig) -> None:
    async with ChatClient(endpoint, asking) as client:
        await inquiry.run(client, endpoint)


def _usage(reply: Reply, endpoint: Endpoint) -> ChatUsage:
    prompt, completion = reply.tokens("prompt"), reply.tokens("completion")
    usd = None if prompt is None or completion is None else endpoint.usd(prompt, completion)
    return ChatUsage(reply.id, reply.model, prompt, completion, usd)


def _totals(usage: Sequence[ChatUsage]) -> dict[str, float | None]:
    """Sums of what is known; None where nothing is."""
    known = [each for each in usage if each.usd is not None]  # the tokens are then known too
    return {
        "prompt_tokens": sum(each.prompt_tokens or 0 for each in known) if known else None,
        "completion_tokens": sum(each.completion_tokens or 0 for each in known) if known else None,
        "usd": sum(each.usd or 0.0 for each in known) if known else None,
        "replies_without_usage": len(usage) - len(known),
    }


def distil(work: Work[ChatConfig]) -> Summary:
    """Ask the teacher every question; `settings` is the endpoint. Raises EndpointError, also if no thoughts come."""
    return send_chat_requests(work, work.config, with_thinking, step="distilled")


CODE_AT_THE_END = re.compile(r"(?<!\d)(\d\d)\W*\Z")  # "51", "Code: 51.", "**51**"


def labelled_rows(work: Work[LabelledConfig]) -> Summary:
    """Ask for the domain of every question; `settings` is the endpoint. Raises EndpointError."""
    classes = msc_classes()
    asking = work.config.asked
    if asking.system is None:
        asking = replace(asking, system=system_prompt(classes))
    return send_chat_requests(work, asking, partial(labelled, classes), step="labelled")


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


def labelled(classes: Mapping[str, str], row: PoolRow, reply: Reply) -> PoolRow | ReplyFault:
    """The row with the title of the class its reply ends in."""
    if fault := fault_of(reply):
        return fault
    found = CODE_AT_THE_END.search(reply.content or "")
    if found is None or found[1] not in classes:
        return ReplyFault.NO_DOMAIN
    return replace(row, domain=classes[found[1]])
