"""Keys in the environment never reach a point, record, message or file, whoever wrote the experiment."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from s1.config.data import Endpoint
from sweep.config.compose import compose
from sweep.core import provenance
from sweep.core.launch import Launch
from sweep.core.provenance import PROJECT
from sweep.core.typed import typed
from sweep.errors import InputError
from sweep.secrets import Guard, Secrets, redacted
from sweep.slurm import export
from tests.support.known import known

CONFIG = PROJECT / "tests" / "support" / "toy_conf"
HUSH = "hush/hush+hush=1"  # as a base64 key may be: no word, and other in an address


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", HUSH)


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    shutil.copytree(CONFIG, tmp_path / "conf")
    return tmp_path / "conf"


def refused(conf: Path, *argv: str) -> str:
    with pytest.raises(InputError) as fault:
        compose(argv, conf)
    assert HUSH not in str(fault.value)
    return str(fault.value)


HOSTILE = {
    "plain": "name: ${oc.env:WANDB_API_KEY}",
    "default": "name: ${oc.env:WANDB_API_KEY,none}",
    "part": "name: run-${oc.env:WANDB_API_KEY}-x",
    "spaced": "name: '${ oc.env : WANDB_API_KEY }'",
    "computed": "name: ${${claim}:WANDB_API_KEY}\nclaim: oc.env",
    "decoded": "name: ${oc.decode:'${oc.env:WANDB_API_KEY}'}",
    "selected": "name: ${oc.select:nothing,${oc.env:WANDB_API_KEY}}",
    "created": "shape: ${oc.create:{number:'${oc.env:WANDB_API_KEY}'}}",
    "dollars": "name: $${oc.env:WANDB_API_KEY}",
    "defaults": "defaults:\n  - override /shape: ${oc.env:WANDB_API_KEY}",
    "also": "also: ['name=${oc.env:WANDB_API_KEY}']",
    "mode": "hydra: {mode: '${oc.env:WANDB_API_KEY}'}",
    "store": "store: ${oc.env:HOME}/store",
    "results": "results: ${oc.env:WANDB_API_KEY}",
    "pipeline": "pipeline: ${oc.env:WANDB_API_KEY}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("flags", [[], ["-m"]], ids=["one", "several"])
def test_a_resolver_that_reads_the_environment_is_refused_wherever_a_file_has_it(
    conf: Path, text: str, flags: list[str]
) -> None:
    path = conf / "experiment" / "stranger.yaml"
    path.write_text(f"# @package _global_\n{text}\n", encoding="utf-8")
    said = refused(conf, "+experiment=stranger", *flags)
    field = text.split(":")[0]
    assert said.startswith(f"{'hydra.mode' if field == 'hydra' else field}") and "${oc.env:...}" in said
    assert len(said.splitlines()) == 1
    assert f"in {path} is refused" in said or "computed" in said or "${${" in text or " : " in text


@pytest.mark.parametrize("axis", ["${oc.env:WANDB_API_KEY},b", "'\"${oc.env:WANDB_API_KEY}\",b'"])
def test_axes_of_an_experiment_read_no_environment(conf: Path, axis: str) -> None:
    text = f"# @package _global_\nhydra:\n  sweeper:\n    params:\n      name: {axis}\n"
    (conf / "experiment" / "stranger.yaml").write_text(text, encoding="utf-8")
    assert refused(conf, "+experiment=stranger", "-m").startswith("name: ${oc.env:...} in ")


def test_an_option_of_a_group_reads_no_environment(conf: Path) -> None:
    (conf / "shape" / "three.yaml").write_text("number: ${oc.env:WANDB_API_KEY}\n", encoding="utf-8")
    assert refused(conf, "shape=three").startswith(f"shape.number: ${{oc.env:...}} in {conf / 'shape' / 'three.yaml'}")


@pytest.mark.parametrize("name", ["NOT_THERE", "WANDB_API_KEY"])
def test_hydra_copies_no_environment_into_the_configuration(conf: Path, name: str) -> None:
    text = f"# @package _global_\nhydra: {{job: {{env_copy: [{name}]}}, mode: '${{hydra.job.env_set.{name}}}'}}\n"
    (conf / "experiment" / "stranger.yaml").write_text(text, encoding="utf-8")
    assert refused(conf, "+experiment=stranger").startswith("hydra.job.env_copy ")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["name=${oc.env:WANDB_API_KEY}"], "name: ${oc.env:...} is refused"),
        (["name='${oc.env:WANDB_API_KEY}'"], "name: ${oc.env:...} is refused"),
        (["shape=${oc.env:WANDB_API_KEY}"], "shape: ${oc.env:...} is refused"),
        (["name=${oc.env:A},${oc.env:B}", "-m"], "name: ${oc.env:...} is refused"),
        (["also=['name=${oc.env:WANDB_API_KEY}']", "-m"], "also[0]: ${oc.env:...} is refused"),
        (["store=${oc.env:HOME}"], "store: ${oc.env:...} is refused"),
        (["name=${now:%Y}"], "name: ${now:...} is refused"),
        (["name=${hydra:runtime.cwd}"], "name: ${hydra:...} is refused"),
        (["name=${python_version:}"], "name: ${python_version:...} is refused"),
        ([f"name={HUSH}"], "name: contains the value of WANDB_API_KEY. Leave it out"),
        ([f"store=/tmp/x-{HUSH}-y"], "store: contains the value of WANDB_API_KEY"),
        ([f"shape.number='{HUSH}'"], "shape.number: contains the value of WANDB_API_KEY"),
        ([f"+experiment={HUSH}"], "experiment: contains the value of WANDB_API_KEY"),
        ([f"also=['name={HUSH}']", "-m"], "also: contains the value of WANDB_API_KEY"),
        ([f"{HUSH}=1"], "argument 1: contains the value of WANDB_API_KEY"),
        (["name=sk-" + "abc123" * 5], "name: looks like a key"),
        (["name=https://me:word@host/x"], "name: looks like a key"),
    ],
)
def test_what_is_typed_is_refused_and_not_repeated(conf: Path, argv: list[str], said: str) -> None:
    assert refused(conf, *argv).startswith(said)


@pytest.mark.parametrize("field", [f"name: x{HUSH}", f"shape: {{number: '{HUSH}'}}", f"shape: {{pause_s: '{HUSH}'}}"])
def test_a_value_of_a_file_that_is_a_secret_is_refused_before_a_message_repeats_it(conf: Path, field: str) -> None:
    (conf / "experiment" / "stranger.yaml").write_text(f"# @package _global_\n{field}\n", encoding="utf-8")
    assert "contains the value of WANDB_API_KEY. Leave it out" in refused(conf, "+experiment=stranger")


def test_a_secret_put_together_from_parts_is_refused(conf: Path) -> None:
    (conf / "experiment" / "stranger.yaml").write_text(
        f"# @package _global_\nname: {HUSH[:8]}\nshape: {{number: '${{name}}{HUSH[8:]}'}}\n", encoding="utf-8"
    )
    assert refused(conf, "+experiment=stranger") == (
        "shape.number: contains the value of WANDB_API_KEY. Leave it out: records and logs would show it."
    )


def test_a_variable_that_a_field_names_holds_a_secret_whatever_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "some-thing-of-mine")
    fields = {"teacher": {"key_variable": "MINE", "system": "it is some-thing-of-mine"}}
    with pytest.raises(InputError, match=r"^teacher\.system: contains the value of MINE\."):
        Guard().refuse(fields)
    Guard().refuse({"teacher": {"system": "it is some-thing-of-mine"}})


def test_plain_interpolation_and_what_computes_from_it_stay(conf: Path) -> None:
    text = "# @package _global_\nname: ${oc.decode:'${shape.number}'}-${oc.select:nothing,x}\n"
    (conf / "experiment" / "own.yaml").write_text(text, encoding="utf-8")
    assert compose(["+experiment=own"], conf).points[0].name == "1-x"


@pytest.mark.parametrize(
    ("name", "value", "is_secret"),
    [
        ("HF_TOKEN", "hf_abcdefgh", True),
        ("OPENAI_API_KEY", "plainwords-with-dashes", True),
        ("AWS_SECRET_ACCESS_KEY", "/aB3dE6gH9jK2mN5pQ8sT1vW4yZ7aB3dE6gH9jK2", True),
        ("PGPASSWORD", "correct horse battery", True),
        ("MY_AUTH", "abcdefgh-1", True),
        ("GITHUB_PAT", "abcdefgh1", True),
        ("HF_TOKEN", "short", False),
        ("TOKENIZERS_PARALLELISM", "false-is-long", False),
        ("MAX_TOKENS", "100000000", False),
        ("AUTH_METHOD", "kerberos", False),
        ("SOME_TOKEN", "disabled", False),
        ("SSH_AUTH_SOCK", "/tmp/ssh-1/agent.1", False),
        ("GIT_AUTHOR_NAME", "Jane Q. Doe", False),
        ("KEY_FILE", "/etc/hosts-of-mine", False),
        ("SIGNING_KEY", "/tmp/not-there.pem", False),
        ("OAUTH_TOKEN_ENDPOINT_KEY", "https://host.example/token", False),
        ("EDITOR", "hush-hush-hush-1", False),
        ("SLURM_JWT", "eyJhbGciOi.x1", True),
        ("JWT", "eyJhbGciOi.x1", True),
        ("ANTHROPIC_KEY1", "abcdefgh-1", True),
        ("SENTRY_DSN", "https://o1.ingest.sentry.io/1", True),
        ("SVC_PW", "hunter-22", True),
        ("MY_SERVICE_PASS", "hunter-22", True),
        ("KEY_PASSPHRASE", "correct horse", True),
        ("SLACK_WEBHOOK_URL", "https://hooks.example/T0/B0/abc", True),
        ("SLACK_WEBHOOK", "https://hooks.example/T0/B0/abc", True),
        ("SOME_PASSWORD", "hunterhunter", False),
        ("SOME_PASSWORD", "20261126", False),
    ],
)
def test_which_variables_hold_a_secret(name: str, value: str, is_secret: bool, tmp_path: Path) -> None:
    found = Secrets.here({name: value, "HOME": str(tmp_path)})
    assert (found.holder(f"a {value} b") == name) is is_secret
    assert value not in repr(found)


@pytest.mark.parametrize("value", ["20261126", "letmeinnow", "Password"])
@pytest.mark.parametrize(
    "name", ["PGPASSWORD", "MY_PASSWD", "SVC_PW", "MY_PASS", "MY_SECRET", "HF_TOKEN", "PASSWORD_2"]
)
def test_a_word_or_number_is_a_secret_where_it_is_all_that_a_field_holds(name: str, value: str, tmp_path: Path) -> None:
    found = Secrets.here({name: value, "HOME": str(tmp_path)})
    assert found.holder(value) == name
    assert found.holder(f"a {value} b") is None and found.redacted(f"a {value} b") == f"a {value} b"
    assert value not in repr(found)
    with pytest.raises(InputError, match=rf"^teacher\.seed: contains the value of {name}\."):
        Guard(found).refuse({"teacher": {"seed": int(value) if value.isdigit() else value}})
    with pytest.raises(InputError, match=rf"^name: contains the value of {name}\."):
        Guard(found).refuse_arguments([f"name='{value}'"])
    assert Secrets.here({"MAX_TOKENS": value, "HOME": str(tmp_path)}).holder(value) is None


@pytest.mark.parametrize("key", ["sk-or-v1-" + "a1b2c3d4" * 5, "aB3dE5gH7jK9mN1p", "0123456789abcdef" * 2])
def test_a_key_typed_into_a_field_of_another_type_is_not_repeated(key: str) -> None:
    with pytest.raises(InputError, match=r"^concurrency \(not shown, it may be a key\): ") as fault:
        typed(Endpoint, {"base_url": "https://host/v1", "key_variable": None, "concurrency": key})
    assert key not in str(fault.value)
    with pytest.raises(InputError, match=r"^concurrency 'many': "):
        typed(Endpoint, {"base_url": "https://host/v1", "key_variable": None, "concurrency": "many"})


def test_what_logging_in_has_left_in_files_is_secret_too(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "token").write_text("hub-token-1234\n", encoding="utf-8")
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password wandb-key-5678\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    found = Secrets.here({"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hub")})
    assert found.redacted("hub-token-1234, wandb-key-5678") == "<redacted>, <redacted>"


def test_a_secret_is_found_as_messages_write_it() -> None:
    for written in (HUSH, repr(HUSH), json.dumps(HUSH), "hush%2Fhush%2Bhush%3D1"):
        assert HUSH not in redacted(written) and "hush" not in redacted(written)


# ------------------------------------------------------------------------------------------- whole commands


def run(tmp_path: Path, name: str) -> subprocess.CompletedProcess[str]:
    """A sweep of the leaky toy, in a process of its own with the key in its environment."""
    (tmp_path / "conf").mkdir(exist_ok=True)
    (tmp_path / "conf" / "config.yaml").write_text(
        "name: toy\nstore: store\nresults: results\nplan: false\n'yes': false\nalso: []\nredo: []\n"
        "pipeline: tests.support.toy_leaky\n",
        encoding="utf-8",
    )
    places = [f"store={tmp_path}/store", f"results={tmp_path}/results"]
    code = (
        "import sys; from pathlib import Path; import sweep.cli.run as m, sweep.__main__ as e;"
        "import sweep.config.compose as c;"
        "conf = Path(sys.argv.pop(1)); m.compose = lambda argv: c.compose(argv, conf); sys.exit(e.main())"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "conf"), *places, f"name={name}"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("name", "status"), [("sound", 0), ("leaky", 1)])
def test_no_file_of_a_store_or_result_holds_the_key_and_no_terminal_shows_it(
    tmp_path: Path, name: str, status: int
) -> None:
    done = run(tmp_path, name)
    assert done.returncode == status, done.stdout + done.stderr
    written = [path for folder in ("store", "results") for path in (tmp_path / folder).rglob("*") if path.is_file()]
    assert len(written) >= 3
    assert not [path for path in written if HUSH.encode() in path.read_bytes()]
    assert HUSH not in done.stdout + done.stderr
    if name == "leaky":
        assert "the server refused the key <redacted>" in done.stderr
        (failed,) = (tmp_path / "store").rglob("failed.json")
        failure = json.loads(failed.read_text(encoding="utf-8"))
        assert failure["message"] == "the server refused the key <redacted>"
        assert "Traceback" in failure["traceback"] and "toy_leaky.py" in failure["traceback"]


def test_a_stranger_s_experiment_is_refused_in_one_line_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nmodel: {name: '${oc.env:WANDB_API_KEY}'}\n"
    (tmp_path / "experiment" / "stranger.yaml").write_text(text, encoding="utf-8")
    argv = [f"hydra.searchpath=[file://{tmp_path}]", "+experiment=stranger", "plan=true", f"store={tmp_path}/store"]
    for more in ([], ["--cfg", "job", "--resolve"]):
        done = subprocess.run(
            [sys.executable, "-m", "sweep", *argv, *more],
            cwd=PROJECT,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "300"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert HUSH not in done.stdout + done.stderr
        if not more:
            assert done.stderr.startswith("error model.name: ${oc.env:...} is refused")
            assert len(done.stderr.splitlines()) == 1 and done.stdout == ""


# ------------------------------------------------------------------------------------------- diffs and copies


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    (project / "conf").mkdir(parents=True)
    (project / "slurm").mkdir()
    (project / "conf" / "teacher.yaml").write_text("model: r1\nseed: 0\n", encoding="utf-8")
    (project / "conf" / "plain.yaml").write_text("seed: 0\n", encoding="utf-8")
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=project, check=True)
    (project / "conf" / "teacher.yaml").write_text(
        f"model: r1\napi_key: plain-text-key\nother: x-{HUSH}\nseed: 1\n", encoding="utf-8"
    )
    (project / "slurm" / "site.sh").write_text("export WANDB_API_KEY=abc123\n", encoding="utf-8")
    for module in (provenance, export):
        monkeypatch.setattr(module, "PROJECT", project)
    return project


def test_the_diff_of_a_record_leaves_keys_out_and_keeps_the_rest(checkout: Path) -> None:
    state = provenance.git_state()
    assert known(state.get("redacted_lines")) == 2
    assert known(state["diff"]).splitlines()[-5:] == [
        " model: r1",
        "-seed: 0",
        "+api_key: <redacted>",
        "+other: x-<redacted>",
        "+seed: 1",
    ]
    record = json.dumps(provenance.provenance())
    assert HUSH not in record and "plain-text-key" not in record


def test_arguments_in_a_record_hold_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["sweep", f"name={HUSH}"])
    assert provenance.provenance()["argv"] == ["sweep", "name=<redacted>"]


def test_an_exported_copy_runs_as_it_is_and_keeps_its_keys_to_the_owner(checkout: Path, tmp_path: Path) -> None:
    code = tmp_path / "code"
    export.export(code, Launch())
    assert (code / "conf" / "teacher.yaml").read_text("utf-8") == (checkout / "conf" / "teacher.yaml").read_text(
        "utf-8"
    )
    modes = {
        name: stat.S_IMODE((code / name).stat().st_mode) & 0o077 for name in ("conf/teacher.yaml", "slurm/site.sh")
    }
    assert set(modes.values()) == {0}
    assert (code / "conf" / "plain.yaml").stat().st_mode == (checkout / "conf" / "plain.yaml").stat().st_mode
    exported = (code / "exported.json").read_text(encoding="utf-8")
    assert HUSH not in exported and "plain-text-key" not in exported and "+seed: 1" in exported
