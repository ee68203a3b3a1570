"""Stages that send one chat request per row: a teacher writes the trace, a labeler names the domain.

Input `rows`: rows.jsonl of records.PoolRow, and funnel.json. Output:

    rows.jsonl      PoolRow, the rows with a usable reply, in input order
    answers.jsonl   replies.Reply, every reply as the server sent it, including the unusable ones: they were paid for
    usage.jsonl     ChatUsage, one per reply, at the endpoint's prices
    funnel.json     the input's steps plus this one: rows kept, rows dropped and why

Replies are appended to a journal in the stage's scratch directory as they arrive (s1/data/reply_journal.py), so a
killed attempt resumes with only the missing requests. The first few requests are a trial: if none of the replies is
usable, the stage stops before it spends more.

Teacher (`distil`, paper section 2.1): the prompt is the question alone; reasoning and answer are stored separately
(s1/data/replies.py).

Labeler (`labelled_rows`, paper section 2.2): the domains are the 61 classes of the Mathematics Subject Classification
2020 that s1 used, which are all two-digit codes except 00 (general) and 01 (history). A reply must end in one of the
codes of msc.json, or its row is dropped. The row stores the title of the class, as s1's data sets do.
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
from sweep.core.stage import Interrupted, Summary, Work
from sweep.core.typed import typed

USAGE = "usage.jsonl"
TRIAL = 8  # questions; at least one reply must be usable before more are sent
FIXES = {
    ReplyFault.NO_THOUGHTS: "The replies have no separate reasoning: start vLLM with --reasoning-parser and the name of"
    " the model's parser, or choose a teacher that returns its reasoning.",
    ReplyFault.CUT: "Raise max_tokens.",
    ReplyFault.REFUSED: "Change the prompt, or choose another model.",
    ReplyFault.INTERRUPTED: "Try again later, or choose another provider.",
    ReplyFault.NO_ANSWER: "The replies contain only reasoning: check that the server's reasoning parser is the one for"
    " this model.",
    ReplyFault.NO_TEXT: "The server sends invalid UTF-8 or unpaired surrogates: fix the server.",
    ReplyFault.KEY: "The server echoes the API key: fix the server, and replace the key.",
    ReplyFault.NO_DOMAIN: "The replies do not end in a code of the list: choose a model that follows instructions.",
}

ReadReply: TypeAlias = Callable[[PoolRow, Reply], "PoolRow | ReplyFault"]  # the row with the reply's content


class SendRequest(Protocol):
    async def __call__(self, row_id: str, question: str) -> Reply:
        """Return the reply to one question. Raises EndpointError for an error that would recur for every question."""
        ...


@dataclass(frozen=True)
class ChatUsage:
    """Tokens and cost of one reply. None: the server did not report it."""

    id: str
    model: str | None
    prompt_tokens: int | None
    completion_tokens: int | None  # reasoning included
    usd: float | None  # at the prices in the endpoint's config


@dataclass(frozen=True)
class ChatRequests:
    """The rows to send, the parser of their replies, and the journal that stores them."""

    model: str
    rows: Sequence[PoolRow]
    read: ReadReply
    journal: ReplyJournal
    report: Callable[[int, int, str], None]
    charge: Callable[[float], None] = lambda usd: None  # told the price of each reply, in USD
    is_over_limit: Callable[[], bool] = lambda: False  # whether to send nothing more

    async def run(self, send: SendRequest, endpoint: Endpoint) -> None:
        """Send the rows that have no reply yet, in order. Raises EndpointError; replies received so far are kept."""
        self.charge(sum(_usage(each, endpoint).usd or 0.0 for each in self.journal.replies.values()))
        await self._send_missing(self.rows[:TRIAL], send, endpoint)
        if self.is_over_limit():
            return
        self._check_trial()
        await self._send_missing(self.rows, send, endpoint)

    def outcomes(self) -> Iterator[PoolRow | ReplyFault]:
        """For each row with a reply, in order: the completed row, or why the reply is unusable."""
        replies = self.journal.replies
        return (self.read(row, replies[row.id]) for row in self.rows if row.id in replies)

    async def _send_missing(self, rows: Sequence[PoolRow], send: SendRequest, endpoint: Endpoint) -> None:
        """Respect the endpoint's limits. After a failure send nothing more, but await requests in flight."""
        missing = {row.id: row for row in rows if row.id not in self.journal.replies}
        slots, failures = asyncio.Semaphore(endpoint.concurrency), list[BaseException]()

        async def one(row: PoolRow) -> None:
            self._store(await send(row.id, row.question), endpoint)

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()):
                failures.append(error)
            slots.release()

        requests: list[asyncio.Task[None]] = []
        for row in missing.values():
            await slots.acquire()
            if failures or self.is_over_limit():
                break
            requests.append(asyncio.create_task(one(row)))
            requests[-1].add_done_callback(ended)
            await asyncio.sleep(60 / endpoint.requests_per_minute if endpoint.requests_per_minute else 0)
        await asyncio.gather(*requests, return_exceptions=True)  # replies in flight are paid for
        if failures:
            raise failures[0]  # the others usually repeat it, as with a full disk

    def _store(self, reply: Reply, endpoint: Endpoint) -> None:
        self.journal.add(reply)
        self.charge(_usage(reply, endpoint).usd or 0.0)
        self.report(len(self.journal.replies), len(self.rows), "rows")

    def _check_trial(self) -> None:
        """Raises EndpointError, and archives the journal, if no reply so far is usable."""
        outcomes = list(self.outcomes())
        faults = Counter(each for each in outcomes if isinstance(each, ReplyFault)).most_common()
        if sum(count for _, count in faults) < len(outcomes):
            return
        self.journal.archive()
        counts = ", ".join(f"{count} {fault.value}" for fault, count in faults)
        refusal = next((f" It says: {each.refusal}" for each in self.journal.replies.values() if each.refusal), "")
        raise EndpointError(
            f"model {self.model}: none of its first {len(outcomes)} replies is usable ({counts}).{refusal}"
            f" {FIXES[faults[0][0]]}"
        )


def send_chat_requests(work: Work[Any], config: ChatConfig, read: ReadReply, step: str) -> Summary:
    """Run a stage that sends one request per row. Raises EndpointError, ConfigError."""
    rows = read_rows(work.one("rows") / ROWS, PoolRow)
    if not rows:
        raise ConfigError(f"{work.one('rows')}: it has no rows. See its funnel.json for the step that dropped them.")
    endpoint = typed(Endpoint, {field.name: work.settings[field.name] for field in fields(Endpoint)})
    with ReplyJournal(work.scratch) as journal:
        known = len(journal.replies)
        requests = ChatRequests(config.model, rows, read, journal, work.report, work.charge, work.is_over_limit)
        asyncio.run(_run(requests, endpoint, config))
        if work.is_over_limit() and any(row.id not in journal.replies for row in rows):
            raise Interrupted(f"stopped after {len(journal.replies)} of {len(rows)} replies, which are kept")
    outcomes = list(requests.outcomes())
    kept = [each for each in outcomes if isinstance(each, PoolRow)]
    drops = [Drop(row, each.value) for row, each in zip(rows, outcomes, strict=True) if isinstance(each, ReplyFault)]
    replies = [journal.replies[row_id] for row_id in dict.fromkeys(row.id for row in rows)]
    usage = [_usage(reply, endpoint) for reply in replies]
    write_rows(work.out / ROWS, kept)
    write_rows(work.out / REPLIES_FILE, replies)
    write_rows(work.out / USAGE, usage)
    write_funnel(work.out, [*read_funnel(work.one("rows")), funnel_step(step, kept, drops)])
    summary = {"rows": len(kept), "dropped": len(drops), "asked": len(replies) - known, **_totals(usage)}
    rare = {
        "damaged_replies": journal.damaged_lines,
        "replies_with_the_key": sum(_echoes_key(reply) for reply in replies),
    }
    return {**summary, **{name: count for name, count in rare.items() if count}}


def _echoes_key(reply: Reply) -> bool:
    """Whether the server echoed the API key in this reply; the stored reply has it redacted."""
    return AlteredReply.KEY.value in (reply.altered or {}).values()


async def _run(requests: ChatRequests, endpoint: Endpoint, config: ChatConfig) -> None:
    async with ChatClient(endpoint, config) as client:
        await requests.run(client, endpoint)


def _usage(reply: Reply, endpoint: Endpoint) -> ChatUsage:
    prompt, completion = reply.tokens("prompt"), reply.tokens("completion")
    usd = None if prompt is None or completion is None else endpoint.usd(prompt, completion)
    return ChatUsage(reply.id, reply.model, prompt, completion, usd)


def _totals(usage: Sequence[ChatUsage]) -> dict[str, float | None]:
    """Totals over replies with known usage; None if there are none."""
    known = [each for each in usage if each.usd is not None]
    return {
        "prompt_tokens": sum(each.prompt_tokens or 0 for each in known) if known else None,
        "completion_tokens": sum(each.completion_tokens or 0 for each in known) if known else None,
        "usd": sum(each.usd or 0.0 for each in known) if known else None,
        "replies_without_usage": len(usage) - len(known),
    }


def distil(work: Work[ChatConfig]) -> Summary:
    """Send every question to the teacher; `settings` is the endpoint. Raises EndpointError, also without reasoning."""
    return send_chat_requests(work, work.config, with_thinking, step="distilled")


CODE_AT_THE_END = re.compile(r"(?<!\d)(\d\d)\W*\Z")  # "51", "Code: 51.", "**51**"


def labelled_rows(work: Work[LabelledConfig]) -> Summary:
    """Request the domain of every question; `settings` is the endpoint. Raises EndpointError."""
    classes = msc_classes()
    config = work.config.asked
    if config.system is None:
        config = replace(config, system=system_prompt(classes))
    return send_chat_requests(work, config, partial(labelled, classes), step="labelled")


def msc_classes() -> dict[str, str]:
    """Title by two-digit code."""
    return json.loads(Path(__file__).with_name("msc.json").read_text(encoding="utf-8"))


def system_prompt(classes: Mapping[str, str]) -> str:
    """The labeler's system prompt unless the config sets one."""
    listed = "\n".join(f"{code} {title}" for code, title in classes.items())
    return (
        "You sort questions by subject. Do not answer the question you are given: say in a sentence or two which of the"
        " subjects below it belongs to most, whatever else it touches. End with a line that holds nothing but the"
        f" two-digit code of that subject.\n\n{listed}"
    )


def labelled(classes: Mapping[str, str], row: PoolRow, reply: Reply) -> PoolRow | ReplyFault:
    """The row with its domain set to the title of the class whose code ends the reply."""
    if fault := fault_of(reply):
        return fault
    found = CODE_AT_THE_END.search(reply.content or "")
    if found is None or found[1] not in classes:
        return ReplyFault.NO_DOMAIN
    return replace(row, domain=classes[found[1]])
