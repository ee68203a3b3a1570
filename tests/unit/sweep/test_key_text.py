"""Detection of keys in the lines of a diff."""

from __future__ import annotations

import pytest

from sweep.redaction import key_in, without_secrets

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
    found = without_secrets(f"{YAML}{line}\n+seed: 0")
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
    assert without_secrets(YAML + line) == without_secrets("") or without_secrets(YAML + line).text == YAML + line
    assert without_secrets(YAML + line).lines == 0


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
    assert without_secrets(PYTHON + line).text == PYTHON + line


def test_values_on_lines_of_their_own_and_private_keys_are_taken_out() -> None:
    lines = [
        *("+api_key: |", "+  one", "+  two", "+next: kept"),
        *("+secret:", "+  folded", "+auth:", "+  kind: basic"),
        *("+pem: -----BEGIN RSA PRIVATE KEY-----", "+  MIIEow", "+  -----END RSA PRIVATE KEY-----", "+after: kept"),
    ]
    assert without_secrets(YAML + "\n".join(lines)).text.splitlines()[1:] == [
        *("+api_key: |", "+  <redacted>", "+  <redacted>", "+next: kept"),
        *("+secret:", "+  <redacted>", "+auth:", "+  kind: basic"),
        *("+<redacted>", "+  <redacted>", "+  <redacted>", "+after: kept"),
    ]


def test_redacted_text_is_not_redacted_twice() -> None:
    once = without_secrets(f"{YAML}+api_key: abc\n+token: abcdefgh1\n+x: https://a:b@host")
    assert once.lines == 3
    assert without_secrets(once.text) == type(once)(once.text, 0)


def test_a_value_looks_like_a_key_by_its_form_or_by_the_name_of_its_field() -> None:
    assert key_in("sk-" + "abc123" * 5) and key_in("https://me:pw@host")
    assert key_in(HEX, "teacher.key") and not key_in(HEX, "model.revision")
    assert not key_in("OPENROUTER_API_KEY", "teacher.endpoint.key_variable")
    assert not key_in("deepseek/deepseek-r1-0528", "teacher.model")


TYPED = "abcDEF123456hunter"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f'+OPENROUTER_KEY: Final = "{TYPED}"', '+OPENROUTER_KEY: Final = "<redacted>"'),
        ('+OPENROUTER_API_KEY: Final[str] = "letmein"', '+OPENROUTER_API_KEY: Final[str] = "<redacted>"'),
        (f'+api_key: str | None = "{TYPED}"', '+api_key: str | None = "<redacted>"'),
        (
            f'+os.environ.setdefault("OPENROUTER_API_KEY", "{TYPED}")',
            '+os.environ.setdefault("OPENROUTER_API_KEY", "<redacted>")',
        ),
        (f'+key = os.environ.get("X_API_KEY", "{TYPED}")', '+key = os.environ.get("X_API_KEY", "<redacted>")'),
        (f'+headers["Authorization"] = "Token {TYPED}"', '+headers["Authorization"] = "Token <redacted>"'),
        (
            f"+parser.add_argument('--api-key', default='{TYPED}')",
            "+parser.add_argument('--api-key', default='<redacted>')",
        ),
        ('+auth = ("bob", "hunter22abc")', '+auth = ("bob", "<redacted>")'),
        (f'+API_KEY = ("{TYPED}"\n+           "zz99hunter")\n+x = "kept99text"', None),
        ('+password = """hunter22\n+multi line"""\n+x = "kept99text"', None),
    ],
)
def test_a_key_typed_into_code_is_taken_out_whatever_the_statement(line: str, expected: str | None) -> None:
    found = without_secrets(f"{PYTHON}{line}\n+seed = 0").text
    if expected is not None:
        assert found == f"{PYTHON}{expected}\n+seed = 0"
    for word in (TYPED, "zz99hunter", "hunter22", "multi line"):
        assert word not in found
    assert found.endswith("\n+seed = 0") and ("kept99text" in found) is ("kept99text" in line)


@pytest.mark.parametrize(
    "line",
    [
        '+        ["budget.max_thinking_tokens=512", "task=math500"],',
        '+    tokenizer = AutoTokenizer.from_pretrained("Qwen/Qwen2.5-7B", use_fast=True)',
        '+    rows = sorted(rows, key=lambda row: row["score_at_2026"])',
        '+    for name in settings.keys(): print("name", name)',
        '+    log.info("%s: the store key is %s", "answers", key)',
        '+    parser.add_argument("--api-key-variable", default="OPENROUTER_API_KEY")',
        '+    """A token of the model; nothing of an api_key or password is said."""',
        "+from sweep.secrets import Secrets",
        '+    return secrets.token_hex(8), {"inodes": inodes}',
        '+    "qwen3_8b": (CHATML_TOKENS, THINK_TOKENS, CHATML),',
        '+    assert manifest["curve"] == {"key": "c0ffee000000"}',
    ],
)
def test_ordinary_code_stays(line: str) -> None:
    assert without_secrets(PYTHON + line).text == PYTHON + line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"+api_keys: [{TYPED}, {TYPED}]", "+api_keys: [<redacted>]"),
        ("+secret: [hush, hush2]", "+secret: [<redacted>]"),
        (f"+api_key: {{default: {TYPED}}}", "+api_key: {<redacted>}"),
        ("+pass: hunter22abc", "+pass: <redacted>"),
        ("+passcode: abcd1234", "+passcode: <redacted>"),
        ("+bearer: abcd1234efgh", "+bearer: <redacted>"),
        ("+url: https://tok3nabcdef@host/", "+url: https://<redacted>@host/"),
        ("+to: https://hooks.slack.com/services/T00000000/B00000000/abcdefgh", "+to: https://<redacted>"),
        (f"+AccountKey={TYPED}==;EndpointSuffix=core", "+AccountKey=<redacted>;EndpointSuffix=core"),
        ("+# wandb login " + HEX, "+# wandb login <redacted>"),
        ("+url: ssh://git@github.com/x", "+url: ssh://git@github.com/x"),
        ("+stop_tokens: [151643, 151645]", "+stop_tokens: [151643, 151645]"),
        ("+keys: [seed, max_tokens]", "+keys: [seed, max_tokens]"),
    ],
)
def test_lists_mappings_and_addresses_of_secrets_are_taken_out(line: str, expected: str) -> None:
    assert without_secrets(f"{YAML}{line}").text == YAML + expected


@pytest.mark.parametrize(
    ("name", "text", "is_key"),
    [
        ("name", "sk-proj-" + "aB3dE5gH7jK9" * 3, True),
        ("name", "sk-ant-api03-" + "aB3dE5gH7jK9mN1pQ3-sT5vW7_yZ9" * 3, True),
        ("name", "x sk-or-v1-" + HEX, True),
        ("name", "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9aB3dE5g", True),
        ("name", "ghp_" + "aB3dE5gH7jK9" * 3, True),
        ("name", "npm_" + "aB3dE5gH7jK9" * 3, True),
        ("name", "AKIAIOSFODNN7EXAMPL3", True),
        ("name", "https://hooks.slack.com/services/T0000000/B0000000/abc123", True),
        ("teacher.key", HEX, True),
        ("teacher.api_key", TYPED, True),
        ("teacher.token", "0f8fad5b-d9cb-469f-a165-70867728950e", True),
        ("store", "/tmp/x/sk-learn-experiments-2026", False),
        ("store", "/tmp/pypi-packages-2026-11", False),
        ("store", "/home/u/sk-fold-3-of-10-seed-42", False),
        ("model.repo", "org/hf_SmolLM2135Instructv2", False),
        ("name", "npm_experiment20261126abc", False),
        ("store", "/scratch/ghp_runs2026112600/x", False),
        ("model.repo", "eyJhbGciOi.JhbGciOix.zz1", False),
        ("model.revision", HEX, False),
        ("task.doc_key", "problem_id_2026_answer1", False),
        ("x.key", "/data/2026/answers/rows1.jsonl", False),
        ("data.token", "qwen2_5_32b_instruct_v1", False),
        ("task.instruction", "See http://example.org:80/a@b", False),
        ("base_url", "ssh://git@github.com/x", False),
    ],
)
def test_what_looks_like_a_key_has_the_shape_of_one(name: str, text: str, is_key: bool) -> None:
    assert key_in(text, name) is is_key
