"""The rendered stage: encode the training text as token ids and audit it before a GPU is requested.

rows.jsonl             TokenRow; the first trained token opens the thinking, the last is the answer's stop
audit.json, audit.csv  s1/train/text_audit.py
figures/lengths.*      histogram of tokens per example, with block_size
sample.txt             the first example as the model reads it, before any cut
funnel.json            the input's steps, if it has any, and the step `rendered`

Inputs: `rows` (rows.jsonl of Example), `model` (s1/models/location.py) for its tokenizer. Prompt and completion are
encoded separately, so that no token spans the start of the loss. Training uses exactly these ids.
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
    with_length_check,
)
from sweep.core.stage import Summary, Work

EXAMPLES_PER_REPORT = 50


def render(work: Work[RenderedConfig]) -> Summary:
    """Encode every example, drop or refuse those that cannot be trained on, and write the audit."""
    location = tokenizer_location(work.one("model"))
    tokenizer = tokenizer_at(location)
    examples = read_rows(work.one("rows") / ROWS, Example)
    _check_unique_ids(examples)
    findings: list[AuditFinding] = []
    write_rows(work.out / ROWS, _rows(work, examples, tokenizer, findings))
    config = work.config
    audit = audit_text(findings, delimiters(config.thinking_format), config.block_size, config.overlong)
    _write_audit(work.out, audit, [each.tokens for each in findings if each.tokens])
    first = next(example for example, each in zip(examples, findings, strict=True) if each.reason is None)
    (work.out / "sample.txt").write_text(sample(text_of(first, config.thinking_format, tokenizer)), encoding="utf-8")
    _continue_funnel(work.one("rows"), work.out, examples, findings)
    return {
        "examples": audit.kept,
        "dropped": audit.examples - audit.kept,
        "cut": audit.cut,
        "tokens": audit.tokens,
        "trained_tokens": audit.trained_tokens,
        "longest": audit.longest,
    }


def _rows(
    work: Work[RenderedConfig], examples: Sequence[Example], tokenizer: Tokenizer, findings: list[AuditFinding]
) -> Iterator[TokenRow]:
    """Yield the kept examples one at a time: 59K of them as lists of integers would not fit in memory."""
    config = work.config
    for number, example in enumerate(examples, start=1):
        finding, ids = audit_example(example, config, tokenizer)
        findings.append(with_length_check(finding, config.block_size, config.overlong))
        if findings[-1].reason is None:
            yield TokenRow(example.id, list(ids[: config.block_size]), finding.prompt_tokens)
        if not number % EXAMPLES_PER_REPORT or number == len(examples):
            work.report(number, len(examples), "examples")


def audit_example(example: Example, config: RenderedConfig, tokenizer: Tokenizer) -> tuple[AuditFinding, Ids]:
    """Audit one example and encode it; no token ids if its texts already rule it out."""
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
    """A readable view of an example's text; the `----` lines are not part of it."""
    framed = (("not trained on", text.prompt), ("trained on", text.completion))
    return "".join(f"---- {name} ----\n{part}\n" for name, part in framed) + "---- end ----\n"


def _check_unique_ids(examples: Sequence[Example]) -> None:
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise ConfigError(f"example {example.id}: two examples have this id. Remove one, or change its id.")
        seen.add(example.id)


# --------------------------------------------------------------------------------------------------- files


def _write_audit(out: Path, audit: TextAudit, tokens: Sequence[int]) -> None:
    (out / "audit.json").write_text(json.dumps(asdict(audit), indent=1, default=_value) + "\n", encoding="utf-8")
    rows = [(check.what, check.count, check.of, check.verdict.value) for check in audit.checks]
    (out / "audit.csv").write_text(csv_text(("what", "count", "of", "verdict"), rows), encoding="utf-8", newline="")
    figure = lengths_figure(tokens, audit.block_size)
    (out / "figures").mkdir()
    (out / "figures" / f"{figure.name}.png").write_bytes(figure.png)
    (out / "figures" / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")


def _continue_funnel(source: Path, out: Path, examples: Sequence[Example], findings: Sequence[AuditFinding]) -> None:
    if not (source / FUNNEL).exists():
        return
    pairs = list(zip(examples, [each.reason for each in findings], strict=True))
    kept = [example for example, reason in pairs if reason is None]
    drops = [Drop(example, reason) for example, reason in pairs if reason is not None]
    write_funnel(out, [*read_funnel(source), funnel_step("rendered", kept, drops)])


def _value(value: Enum) -> str:
    return value.value
