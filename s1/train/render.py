"""The training text as token ids, audited before a GPU is asked for: what is trained on is what stands in these files.

rows.jsonl             TokenRow; the first trained token opens the thinking, the last is the answer's stop
audit.json, audit.csv  s1/train/text_audit.py
figures/lengths.*      tokens per example, and where block_size lies
sample.txt             the first example as the model reads it, before any cut
funnel.json            that of the input, if it has one, and the step `rendered`

Inputs: `rows` (rows.jsonl of Example), `model` (s1/models/location.py), whose tokenizer encodes. Prompt and
completion are
encoded apart, so that no token spans the place where the loss begins.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path

from s1.config.schema import ConfigError, ThinkingFormat
from s1.data.funnel import FUNNEL, Drop, funnel_step, read_funnel, write_funnel
from s1.files.csv_files import csv_text
from s1.models.location import tokenizer_at, tokenizer_location
from s1.models.thinking_format import Ids, Tokenizer, TrainingText, decode, encode, prompt_text, training_text
from s1.plots.lengths import lengths_figure
from s1.records import ROWS, Example, TokenRow, read_rows, write_rows
from s1.stages import RenderedConfig
from s1.train.text_audit import (
    NOT_KEPT,
    NOT_ONCE,
    AuditFinding,
    TextAudit,
    audit_text,
    defect,
    delimited_once,
    delimiters,
    fate,
)
from sweep.core.stage import Summary, Work

EXAMPLES_PER_REPORT = 50


def render(work: Work[RenderedConfig]) -> Summary:
    """Encode every example, leave out or refuse what cannot be trained on, and say what was found."""
    location = tokenizer_location(work.one("model"))
    tokenizer = tokenizer_at(location)
    examples = read_rows(work.one("rows") / ROWS, Example)
    _refuse_double(examples)
    findings: list[AuditFinding] = []
    write_rows(work.out / ROWS, _rows(work, examples, tokenizer, findings))
    config = work.config
    found = audit_text(findings, delimiters(config.thinking_format), config.block_size, config.overlong)
    _write(work.out, found, [each.tokens for each in findings if each.tokens])
    first = next(example for example, each in zip(examples, findings, strict=True) if each.reason is None)
    (work.out / "sample.txt").write_text(sample(text_of(first, config.thinking_format, tokenizer)), encoding="utf-8")
    _continue_funnel(work.one("rows"), work.out, examples, findings)
    return {
        "examples": found.kept,
        "dropped": found.examples - found.kept,
        "cut": found.cut,
        "tokens": found.tokens,
        "trained_tokens": found.trained_tokens,
        "longest": found.longest,
    }


def _rows(
    work: Work[RenderedConfig], examples: Sequence[Example], tokenizer: Tokenizer, findings: list[AuditFinding]
) -> Iterator[TokenRow]:
    """The examples that are kept, one at a time: 59K of them as lists of integers would not fit in memory."""
    config = work.config
    for number, example in enumerate(examples, start=1):
        finding, ids = examine(example, config, tokenizer)
        findings.append(fate(finding, config.block_size, config.overlong))
        if findings[-1].reason is None:
            yield TokenRow(example.id, list(ids[: config.block_size]), finding.prompt_tokens)
        if not number % EXAMPLES_PER_REPORT or number == len(examples):
            work.report(number, len(examples), "examples")


def examine(example: Example, config: RenderedConfig, tokenizer: Tokenizer) -> tuple[AuditFinding, Ids]:
    """What there is to say of one example, and its token ids; () if its text is not worth encoding."""
    reason = defect(example, config.thinking_format, config.control)
    if reason is not None:
        return AuditFinding(reason), ()
    text = text_of(example, config.thinking_format, tokenizer)
    prompt, completion = encode(text.prompt, tokenizer), encode(text.completion, tokenizer)
    ids = prompt + completion
    before, back = text.prompt + text.completion, decode(ids, tokenizer)
    renormalised = back != before and back == unicodedata.normalize("NFC", before)
    if not delimited_once(text, config.thinking_format, config.control):
        reason = NOT_ONCE
    elif back != before and not renormalised:
        reason = NOT_KEPT
    too_long = len(ids) > config.block_size
    answer_start = len(prompt) + len(encode(text.before_answer, tokenizer)) if too_long else len(ids)
    return AuditFinding(reason, len(ids), len(prompt), answer_start, renormalised), ids


def text_of(example: Example, thinking_format: ThinkingFormat, tokenizer: Tokenizer) -> TrainingText:
    """The training text of an example (paper, section 3.1)."""
    return training_text(
        thinking_format, prompt_text(thinking_format, example.question, tokenizer), example.thinking, example.answer
    )


def sample(text: TrainingText) -> str:
    """An example as the model reads it, for people; the frames are not part of it."""
    framed = (("not trained on", text.prompt), ("trained on", text.completion))
    return "".join(f"---- {name} ----\n{part}\n" for name, part in framed) + "---- end ----\n"


def _refuse_double(examples: Sequence[Example]) -> None:
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise ConfigError(
                f"example {example.id}: stands in the set twice. Remove one, or give it an id of its own."
            )
        seen.add(example.id)


# --------------------------------------------------------------------------------------------------- files


def _write(out: Path, found: TextAudit, tokens: Sequence[int]) -> None:
    (out / "audit.json").write_text(json.dumps(asdict(found), indent=1, default=_value) + "\n", encoding="utf-8")
    rows = [(check.what, check.count, check.of, check.verdict.value) for check in found.checks]
    (out / "audit.csv").write_text(csv_text(("what", "count", "of", "verdict"), rows), encoding="utf-8", newline="")
    figure = lengths_figure(tokens, found.block_size)
    (out / "figures").mkdir()
    (out / "figures" / f"{figure.name}.png").write_bytes(figure.png)
    (out / "figures" / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")


def _continue_funnel(source: Path, out: Path, examples: Sequence[Example], findings: Sequence[AuditFinding]) -> None:
    if not (source / FUNNEL).exists():
        return
    judged = list(zip(examples, [each.reason for each in findings], strict=True))
    kept = [example for example, reason in judged if reason is None]
    drops = [Drop(example, reason) for example, reason in judged if reason is not None]
    write_funnel(out, [*read_funnel(source), funnel_step("rendered", kept, drops)])


def _value(value: Enum) -> str:
    return value.value
