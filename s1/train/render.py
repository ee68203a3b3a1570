"""The training text as token ids, audited before a GPU is asked for: what is trained on is what stands in these files.

rows.jsonl             TokenRow; the first trained token opens the thinking, the last is the answer's stop
audit.json, audit.csv  s1/train/audit.py
figures/lengths.*      tokens per example, and where block_size lies
sample.txt             the first example as the model reads it, before any cut
funnel.json            that of the input, if it has one, and the step `rendered`

Inputs: `rows` (rows.jsonl of Example), `model` (s1/train/start.py), whose tokenizer encodes. Prompt and completion are
encoded apart, so that no token spans the place where the loss begins.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path

from s1.cells import csv_text
from s1.config import ConfigError, Dialect
from s1.data.funnel import FUNNEL, Drop, read_funnel, step_of, write_funnel
from s1.dialect import Ids, Tokenizer, TrainingText, decode, encode, prompt_text, training_text
from s1.records import ROWS, Example, TokenRow, read_rows, write_rows
from s1.report.figures_lengths import lengths_figure
from s1.stages import Rendering
from s1.train.audit import NOT_KEPT, NOT_ONCE, Audit, Finding, audit, defect, delimited_once, delimiters, fate
from s1.train.start import tokenizer_at, tokenizer_location
from sweep.stage import Summary, Work

EXAMPLES_PER_REPORT = 50


def render(work: Work[Rendering]) -> Summary:
    """Encode every example, leave out or refuse what cannot be trained on, and say what was found."""
    location = tokenizer_location(work.one("model"))
    tokenizer = tokenizer_at(location)
    examples = read_rows(work.one("rows") / ROWS, Example)
    _refuse_double(examples)
    findings: list[Finding] = []
    write_rows(work.out / ROWS, _rows(work, examples, tokenizer, findings))
    config = work.config
    found = audit(findings, delimiters(config.dialect), config.block_size, config.overlong)
    _write(work.out, found, [each.tokens for each in findings if each.tokens])
    first = next(example for example, each in zip(examples, findings, strict=True) if each.reason is None)
    (work.out / "sample.txt").write_text(sample(text_of(first, config.dialect, tokenizer)), encoding="utf-8")
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
    work: Work[Rendering], examples: Sequence[Example], tokenizer: Tokenizer, findings: list[Finding]
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


def examine(example: Example, config: Rendering, tokenizer: Tokenizer) -> tuple[Finding, Ids]:
    """What there is to say of one example, and its token ids; () if its text is not worth encoding."""
    reason = defect(example, config.dialect, config.control)
    if reason is not None:
        return Finding(reason), ()
    text = text_of(example, config.dialect, tokenizer)
    prompt, completion = encode(text.prompt, tokenizer), encode(text.completion, tokenizer)
    ids = prompt + completion
    before, back = text.prompt + text.completion, decode(ids, tokenizer)
    renormalised = back != before and back == unicodedata.normalize("NFC", before)
    if not delimited_once(text, config.dialect, config.control):
        reason = NOT_ONCE
    elif back != before and not renormalised:
        reason = NOT_KEPT
    too_long = len(ids) > config.block_size
    answer_start = len(prompt) + len(encode(text.before_answer, tokenizer)) if too_long else len(ids)
    return Finding(reason, len(ids), len(prompt), answer_start, renormalised), ids


def text_of(example: Example, dialect: Dialect, tokenizer: Tokenizer) -> TrainingText:
    """The training text of an example (paper, section 3.1)."""
    return training_text(dialect, prompt_text(dialect, example.question, tokenizer), example.thinking, example.answer)


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


def _write(out: Path, found: Audit, tokens: Sequence[int]) -> None:
    (out / "audit.json").write_text(json.dumps(asdict(found), indent=1, default=_value) + "\n", encoding="utf-8")
    rows = [(check.what, check.count, check.of, check.verdict.value) for check in found.checks]
    (out / "audit.csv").write_text(csv_text(("what", "count", "of", "verdict"), rows), encoding="utf-8", newline="")
    figure = lengths_figure(tokens, found.block_size)
    (out / "figures").mkdir()
    (out / "figures" / f"{figure.name}.png").write_bytes(figure.png)
    (out / "figures" / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")


def _continue_funnel(source: Path, out: Path, examples: Sequence[Example], findings: Sequence[Finding]) -> None:
    if not (source / FUNNEL).exists():
        return
    judged = list(zip(examples, [each.reason for each in findings], strict=True))
    kept = [example for example, reason in judged if reason is None]
    drops = [Drop(example, reason) for example, reason in judged if reason is not None]
    write_funnel(out, [*read_funnel(source), step_of("rendered", kept, drops)])


def _value(value: Enum) -> str:
    return value.value
