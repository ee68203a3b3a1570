"""What of a diff looks like a key, line by line, and what does not."""

from __future__ import annotations

import pytest

from sweep.key_text import key_in, without_keys

YAML = "diff --git a/conf/teacher/mine.yaml b/conf/teacher/mine.yaml\n"
PYTHON = "diff --git a/s1/mine.py b/s1/mine.py\n"
HEX = "0123456789abcdef" * 2 + "01234567"  # as a commit has it, and a key of W&B


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("+api_key: " + "sk-or-v1-" + HEX, "+api_key: <redacted>"),
        ("-  token: oldtoken-abc", "-  token: <redacted>"),
        ("   key: " + HEX, "   key: <redacted>"),
        ('+password: "hun ter2"  # mine', '+password: "<redacted>"  # mine'),
        ("+wandb: {api_key: abc123, project: x}", "+wandb: {api_key: <redacted>, project: x}"),
        ("+model: hf_" + "aBcDeFgHiJ" * 3, "+model: <redacted>"),
        ("+x: ghp_" + "a1B2c3D4e5" * 3, "+x: <redacted>"),
        ("+x: AKIA" + "IOSFODNN7EXAMPLE", "+x: <redacted>"),
        ("+base_url: https://me:pw@host/v1", "+base_url: https://<redacted>@host/v1"),
        ('+h: {"Authorization": "Bearer abcdefgh1234"}', '+h: {"Authorization": "Bearer <redacted>"}'),
        ("@@ -1 +1 @@ client_secret = plain", "@@ -1 +1 @@ client_secret = <redacted>"),
        ("+AWS_SECRET_ACCESS_KEY=abc/def+ghi", "+AWS_SECRET_ACCESS_KEY=<redacted>"),
        ("+openai-api-key = 'x'", "+openai-api-key = '<redacted>'"),
        ("+url: https://host/v1?api_key=abc&x=1", "+url: https://host/v1?api_key=<redacted>&x=1"),
    ],
)
def test_a_key_is_taken_out_and_the_rest_of_its_line_stays(line: str, expected: str) -> None:
    found = without_keys(f"{YAML}{line}\n+seed: 0")
    assert found.text == f"{YAML}{expected}\n+seed: 0"
    assert found.lines == 1


@pytest.mark.parametrize(
    "line",
    [
        "+  key_variable: OPENROUTER_API_KEY",
        "+  max_thinking_tokens: 4096",
        '+  eos_token: "<|im_end|>"',
        f"+  revision: {HEX}",
        "+  api_key: null",
        "+  api_key: ${teacher.key}",
        "+  key: scores",
        "+  - budget.max_thinking_tokens=null budget.waits=1",
        "+  repo: simplescaling/s1-32B",
        "+  base_url: https://openrouter.ai/api/v1",
    ],
)
def test_what_is_no_key_stays_in_yaml(line: str) -> None:
    assert without_keys(YAML + line) == without_keys("") or without_keys(YAML + line).text == YAML + line
    assert without_keys(YAML + line).lines == 0


@pytest.mark.parametrize(
    "line",
    [
        "+    token = tokenizer.eos_token",
        "+    key = digest(text)[:12]",
        '+    api_key = os.environ["OPENROUTER_API_KEY"]',
        "+    secrets: Secrets = field(default_factory=Secrets.here)",
        "+def tell(token: str, key: str, password: str) -> None:",
        '+    return {"key": stage.key, "label": label}',
        "+    if key == other_key and token is None:",
    ],
)
def test_expressions_of_code_stay(line: str) -> None:
    assert without_keys(PYTHON + line).text == PYTHON + line


def test_values_on_lines_of_their_own_and_private_keys_are_taken_out() -> None:
    lines = [
        *("+api_key: |", "+  one", "+  two", "+next: kept"),
        *("+secret:", "+  folded", "+auth:", "+  kind: basic"),
        *("+pem: -----BEGIN RSA PRIVATE KEY-----", "+  MIIEow", "+  -----END RSA PRIVATE KEY-----", "+after: kept"),
    ]
    assert without_keys(YAML + "\n".join(lines)).text.splitlines()[1:] == [
        *("+api_key: |", "+  <redacted>", "+  <redacted>", "+next: kept"),
        *("+secret:", "+  <redacted>", "+auth:", "+  kind: basic"),
        *("+<redacted>", "+  <redacted>", "+  <redacted>", "+after: kept"),
    ]


def test_what_was_taken_out_is_not_counted_again() -> None:
    once = without_keys(f"{YAML}+api_key: abc\n+token: abcdefgh1\n+x: https://a:b@host")
    assert once.lines == 3
    assert without_keys(once.text) == type(once)(once.text, 0)


def test_a_value_looks_like_a_key_by_its_form_or_by_the_name_of_its_field() -> None:
    assert key_in("sk-" + "abc123" * 5) and key_in("https://me:pw@host")
    assert key_in(HEX, "teacher.key") and not key_in(HEX, "model.revision")
    assert not key_in("OPENROUTER_API_KEY", "teacher.endpoint.key_variable")
    assert not key_in("deepseek/deepseek-r1-0528", "teacher.model")
