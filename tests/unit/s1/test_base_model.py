"""The base_model stage: random weights, a GGUF file of a package, or a pointer to a hub or local model."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s1.config.schema import Architecture, ConfigError, Dial, ModelKind
from s1.dial import Family
from s1.models.location import (
    CHAT_PIECES,
    gguf_path,
    materialise,
    model_location,
    model_read,
    piece_tokenizer,
    tokenizer_location,
)
from s1.stages import BaseModelConfig
from sweep.core.stage import FileInput, Work

TINY = Architecture(hidden_size=16, layers=1, heads=2, feed_forward_size=16, rope_theta=1000.0, initializer_range=0.1)
FRESH = BaseModelConfig(ModelKind.FRESH, repo=None, revision=None, file=None, architecture=TINY, dial=Dial(), seed=0)
REVISION = "0123456789abcdef0123456789abcdef01234567"


def work(config: BaseModelConfig, out: Path, files: tuple[Path, ...] = ()) -> Work[BaseModelConfig]:
    out.mkdir(parents=True, exist_ok=True)
    return Work("key", config, {"files": files}, out, out, out, {}, lambda done, total, unit: None)


@pytest.fixture(scope="module")
def tokenizer():
    return piece_tokenizer((*CHAT_PIECES, *Family(Dial()).pieces()))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("fresh")
    materialise(work(FRESH, out))
    return out


def ids(tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def test_every_number_is_one_token(tokenizer):
    for number in range(20):
        for text in (f"{number}", f"@{number}", *([f"+{number}"] if number < 10 else [])):
            assert len(ids(tokenizer, text)) == len(ids(tokenizer, f" {text}")) == 1


def test_an_appended_wait_is_the_token_that_training_shows(tokenizer):
    always = Family(Dial(wait_probability=1.0, waits_max=1))
    problem = next(always.training_problems(Random(0)))
    before, after = always.reason(problem, Random(0)).thinking.split("\nWait")
    whole = ids(tokenizer, f"{before}\nWait{after}")
    assert whole == ids(tokenizer, f"{before}\n") + ids(tokenizer, "Wait") + ids(tokenizer, after)
    assert len(ids(tokenizer, "Wait")) == 1


@given(st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_any_text_survives_the_tokenizer(text):
    tokenizer = piece_tokenizer(Family(Dial()).pieces())
    assert tokenizer.decode(ids(tokenizer, text), skip_special_tokens=False) == text


def test_the_tokenizer_is_loaded_as_it_was_saved(fresh, tokenizer):
    from transformers import AutoTokenizer

    text = "<|im_start|>user\nDial @11. Ann +7. Dial now?<|im_end|>\nWait, check 2. \u00e9\n\n<|im_start|>answer\n18"
    assert ids(AutoTokenizer.from_pretrained(fresh), text) == ids(tokenizer, text)


def test_the_weights_of_a_fresh_model_depend_on_its_seed_alone(fresh, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(99)
    state = torch.get_rng_state()
    materialise(work(FRESH, tmp_path / "same"))
    assert torch.equal(torch.get_rng_state(), state)
    materialise(work(replace(FRESH, seed=1), tmp_path / "other"))
    first, same, other = (
        next(AutoModelForCausalLM.from_pretrained(place).parameters())
        for place in (fresh, tmp_path / "same", tmp_path / "other")
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_model_in_its_own_directory_is_loaded_from_there(fresh):
    assert model_location(fresh) == (str(fresh), None)


def test_a_local_directory_is_pointed_to_and_not_copied(fresh, tmp_path):
    start = replace(FRESH, kind=ModelKind.DIRECTORY, architecture=None, dial=None)
    materialise(work(start, tmp_path, tuple(FileInput.of(path).path for path in sorted(fresh.iterdir()))))
    assert model_location(tmp_path) == (str(fresh), None)
    assert [path.name for path in tmp_path.iterdir()] == ["location.json"]


@pytest.fixture
def local(fresh, tmp_path) -> Path:
    """A local model, and next to it base_model/ with the pointer to it."""
    shutil.copytree(fresh, tmp_path / "model")
    start = replace(FRESH, kind=ModelKind.DIRECTORY, architecture=None, dial=None)
    materialise(work(start, tmp_path / "base_model", tuple(sorted((tmp_path / "model").iterdir()))))
    return tmp_path / "model"


def flip(path: Path) -> None:
    """Flip one bit and restore the file times."""
    state, content = path.stat(), bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_local_model_that_changed_since_it_was_planned_is_refused_by_file(local, name):
    start = local.with_name("base_model")
    model_location(start)
    whole = model_read(start)
    assert len(whole["model_digest"]) == 12
    flip(local / name)
    with pytest.raises(ConfigError, match=rf"model': {name} changed since planning") as refusal:
        model_location(start)
    assert "\n" not in str(refusal.value)
    flip(local / name)
    assert model_location(start) == (str(local), None)
    assert model_read(start) == whole


def test_added_and_removed_model_files_are_changes_and_other_files_are_not(local):
    start = local.with_name("base_model")
    (local / "notes.md").touch()
    model_location(start)
    (local / "extra.safetensors").touch()
    with pytest.raises(ConfigError, match=r"extra\.safetensors changed"):
        model_location(start)
    assert tokenizer_location(start) == (str(local), None), "the tokenizer does not depend on the weights"
    shutil.rmtree(local)
    with pytest.raises(ConfigError, match="no such directory any more"):
        model_location(start)


def test_a_pointer_of_an_earlier_version_has_no_hashes_and_is_accepted(local):
    start = local.with_name("base_model")
    (start / "location.json").write_text(json.dumps({"model": str(local), "revision": None}))
    flip(local / "model.safetensors")
    assert model_location(start) == (str(local), None)
    assert model_read(start)["model_digest"]


@pytest.mark.parametrize("harm", ["empty", "half", "a flipped header", "a long header", "a directory"])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_an_unreadable_model_file_is_named_in_a_one_line_error(fresh, tmp_path, name, harm):
    model = shutil.copytree(fresh, tmp_path / "model")
    content = (model / name).read_bytes()
    if harm == "a directory":
        (model / name).unlink()
        (model / name).mkdir()
    else:
        harmed = {
            "empty": b"",
            "half": content[: len(content) // 2],
            "a flipped header": content.replace(b'":', b'";', 1),
            "a long header": b"\xff" * 8 + content[8:],
        }
        (model / name).write_bytes(harmed[harm])
    with pytest.raises(ConfigError, match=name) as refusal:
        model_location(model)
    assert "\n" not in str(refusal.value) and "store check" in str(refusal.value)


def test_a_directory_without_a_tokenizer_is_refused(fresh, tmp_path):
    (tmp_path / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "model" / name).write_bytes((fresh / name).read_bytes())
    start = replace(FRESH, kind=ModelKind.DIRECTORY, architecture=None, dial=None)
    with pytest.raises(ConfigError, match=r"no tokenizer\.json"):
        materialise(work(start, tmp_path / "out", tuple((tmp_path / "model").iterdir())))


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


HUB = replace(FRESH, kind=ModelKind.HUB, architecture=None, dial=None, repo="some/model", revision=REVISION)


def test_a_hub_model_stays_in_the_cache_and_is_loaded_from_the_snapshot_of_its_commit(fresh, hub_cache, tmp_path):
    snapshot = hub_cache / "models--some--model" / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for path in fresh.iterdir():
        (snapshot / path.name).symlink_to(path)
    assert materialise(work(HUB, tmp_path / "out"))["commit"] == REVISION
    assert model_location(tmp_path / "out") == (str(snapshot), None)
    assert json.loads((tmp_path / "out" / "location.json").read_text()) == {"model": "some/model", "revision": REVISION}


def test_an_unavailable_hub_model_is_a_one_line_error(hub_cache, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.repo some/model: commit 0123") as refusal:
        materialise(work(HUB, tmp_path / "out"))
    assert "\n" not in str(refusal.value)


def test_a_package_that_is_not_installed_is_named_with_the_fix():
    with pytest.raises(ConfigError, match=r"'no_such_package': no such package is installed\. Run `make smollm`"):
        gguf_path("no_such_package", "model.gguf")


def test_a_file_is_found_in_a_package_without_running_its_code(tmp_path, monkeypatch):
    package = tmp_path / "weights_in_a_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "small.gguf").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert gguf_path("weights_in_a_package", "small.gguf") == package / "small.gguf"
    with pytest.raises(ConfigError, match=r"model\.file 'large\.gguf': not in .*GGUF files there: small\.gguf"):
        gguf_path("weights_in_a_package", "large.gguf")


@pytest.mark.parametrize(
    ("package", "file", "said"),
    [
        ("outer_package.inner", "small.gguf", "model.repo 'outer_package.inner': not the name of a top-level package"),
        ("../outer_package", "small.gguf", "model.repo '../outer_package': not the name of a top-level package"),
        ("", "small.gguf", "model.repo '': not the name of a top-level package"),
        ("outer_package", "../secret.gguf", "model.file '../secret.gguf': not a file name"),
        ("outer_package", "/etc/passwd", "model.file '/etc/passwd': not a file name"),
        ("outer_package", "", "model.file '': not a file name"),
    ],
)
def test_finding_a_file_runs_no_code_and_never_leaves_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, file: str, said: str
) -> None:
    inner = tmp_path / "outer_package" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner.parent, inner):
        (folder / "__init__.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n", encoding="utf-8")
        (folder / "small.gguf").touch()
    (tmp_path / "secret.gguf").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError) as refused:
        gguf_path(package, file)
    assert str(refused.value).startswith(said)
    assert gguf_path("outer_package", "small.gguf") == inner.parent / "small.gguf"
    assert not (tmp_path / "ran").exists()
