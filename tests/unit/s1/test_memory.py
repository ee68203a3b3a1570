"""Memory of a fine-tuning before it is queued: held against what is known of shapes, and of runs that fitted or not."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from s1.config.resources import Machine
from s1.config.schema import ConfigError, DecoderShape, Lora, Overlong, Train, TrainMethod
from s1.train.memory import Memory, Parts, layer_parameters, memory, table, trained_parameters
from tests.support.known import known

CONF = Path(__file__).parents[3] / "conf"
SIZES = ("0.5B", "1.5B", "3B", "7B", "14B", "32B")
FULL = Train(
    method=TrainMethod.FULL,
    epochs=5,
    steps=None,
    batch_size=16,
    learning_rate=1e-5,
    warmup_share=0.05,
    scheduler="cosine",
    adam_beta1=0.9,
    adam_beta2=0.95,
    weight_decay=1e-4,
    max_grad_norm=1.0,
    block_size=32768,
    overlong=Overlong.REFUSE,
    length_window=1,
    dtype="bfloat16",
    weights_dtype="float32",
)
EVERYWHERE = ["all-linear"]
LORA = replace(FULL, method=TrainMethod.LORA, lora=Lora(32, 32, 0.0, EVERYWHERE), weights_dtype="bfloat16")
QLORA = replace(LORA, method=TrainMethod.QLORA, lora=Lora(64, 16, 0.05, EVERYWHERE))


def shape(size: str) -> DecoderShape:
    path = CONF / "model" / f"qwen2_5_{size.lower().replace('.', '_')}.yaml"
    return DecoderShape(**yaml.safe_load(path.read_text())["shape"])


def machine(gpus: int, gib: float | None, nodes: int = 1, checkpointing: bool = True) -> Machine:
    return Machine(
        device="cuda",
        dtype="bfloat16",
        gpus=gpus,
        tensor_parallel=1,
        data_parallel=1,
        workers=1,
        threads=8,
        micro_batch=1,
        checkpoint_every_steps=50,
        checkpoint_every_minutes=10,
        gradient_checkpointing=checkpointing,
        padding_free=True,
        memory_gib=gib,
        nodes=nodes,
        slots=256,
        cache_gib=None,
        prefix_caching=True,
        shards=1,
    )


# ------------------------------------------------------------------------------------------- what is known


@pytest.mark.parametrize("size", SIZES)
def test_the_sizes_of_a_model_add_up_to_its_parameters(size):
    """Embedding, layers, last norm, and a head of its own from 7B on."""
    sizes = shape(size)
    embeddings = sizes.vocabulary * sizes.hidden_size * (2 if size in ("7B", "14B", "32B") else 1)
    assert sizes.parameters == embeddings + sizes.layers * layer_parameters(sizes) + sizes.hidden_size


def test_adapters_of_rank_16_have_as_many_parameters_as_peft_counts():
    recipe = replace(LORA, lora=Lora(16, 16, 0.0, EVERYWHERE))
    assert trained_parameters(shape("7B"), recipe) == 40_370_176  # Qwen2.5-7B


@pytest.mark.parametrize(("nodes", "gigabytes"), [(2, 33), (1, 66)])
def test_weights_gradients_and_optimiser_take_sixteen_bytes_a_parameter_over_all_gpus(nodes, gigabytes):
    need = memory(shape("32B"), FULL, machine(8, 80, nodes))
    assert need.resident_gib * 2**30 / 1e9 == pytest.approx(gigabytes, abs=0.5)


S1K, S1K_1_1 = 9_109, 26_000  # tokens of their longest rows
KNOWN = {
    "16 x 80 GB, 32B on s1K: s1's own run": ("32B", FULL, machine(8, 80, 2), S1K, True),
    "8 x 80 GB, 32B on s1K, micro-batch 1 (s1 issue 13)": ("32B", FULL, machine(8, 80), S1K, False),
    "the same without gradient checkpointing": ("32B", FULL, machine(8, 80, 1, False), S1K, False),
    "16 x 80 GB, 32B on s1K-1.1 at 32K (s1 issue 61)": ("32B", FULL, machine(8, 80, 2, False), S1K_1_1, False),
    "and what its authors advised": ("32B", replace(FULL, block_size=20_000), machine(8, 80, 2), S1K_1_1, True),
    "4 x 24 GB, 0.5B at 32K in float32 (s1 issue 56)": (
        "0.5B",
        replace(FULL, dtype="float32"),
        machine(4, 24, 1, False),
        32_768,
        False,
    ),
    "24 GB, 7B by qlora at 4K": ("7B", QLORA, machine(1, 24), 4_096, True),
    "24 GB, 7B by lora in bfloat16 at 4K": ("7B", LORA, machine(1, 24), 4_096, True),
    "24 GB, 7B in full": ("7B", FULL, machine(1, 24), 4_096, False),
    "80 GB, 7B in full, float32": ("7B", FULL, machine(1, 80), 4_096, False),
    "80 GB, 32B by qlora at 20K": ("32B", QLORA, machine(1, 80), 20_000, True),
    "24 GB, 32B by qlora at 4K": ("32B", QLORA, machine(1, 24), 4_096, False),
}


@pytest.mark.parametrize(("size", "recipe", "where", "longest", "fits"), KNOWN.values(), ids=KNOWN)
def test_the_estimate_agrees_with_what_is_known(size, recipe, where, longest, fits):
    need = memory(shape(size), recipe, where, longest)
    assert need.fits is fits, need.remark()


# ----------------------------------------------------------------------------------------- how it behaves


@pytest.mark.parametrize("recipe", [FULL, LORA, QLORA], ids=["full", "lora", "qlora"])
def test_what_spares_memory_spares_it_in_its_own_part(recipe):
    whole = memory(shape("7B"), recipe, machine(8, 80, checkpointing=False)).parts
    checkpointed = memory(shape("7B"), recipe, machine(8, 80)).parts
    assert replace(checkpointed, activations=whole.activations) == whole
    assert checkpointed.activations < whole.activations / 5
    shorter = memory(shape("7B"), recipe, machine(8, 80), longest_row=16_384).parts
    assert shorter.activations == pytest.approx(checkpointed.activations / 2)
    spread = memory(shape("7B"), recipe, machine(8, 80, nodes=2)).parts
    assert spread.optimiser == pytest.approx(checkpointed.optimiser / 2)
    assert spread.activations == checkpointed.activations


def test_bfloat16_weights_halve_what_the_optimiser_updates():
    halved = replace(FULL, weights_dtype="bfloat16")
    there, here = (memory(shape("3B"), recipe, machine(1, 80)) for recipe in (FULL, halved))
    assert here.resident_gib == there.resident_gib / 2
    assert here.parts.working_copy == 0  # nothing to cast


def test_a_row_counts_only_up_to_block_size_and_a_micro_batch_only_up_to_the_batch():
    small = replace(FULL, block_size=1000, batch_size=2)
    many = replace(machine(1, 80), micro_batch=8)
    assert memory(shape("0.5B"), small, many, 10**6) == memory(shape("0.5B"), small, replace(many, micro_batch=2))


def test_what_no_shorter_row_would_spare_is_hopeless_and_the_rest_only_does_not_fit():
    beyond = memory(shape("7B"), FULL, machine(1, 80))
    assert (beyond.fits, beyond.fits_no_row) == (False, True)
    tight = memory(shape("32B"), FULL, machine(8, 80, 2))
    assert (tight.fits, tight.fits_no_row) == (False, False)
    unknown = memory(shape("7B"), FULL, machine(1, None))
    assert (unknown.fits, unknown.fits_no_row) == (None, False)


def test_a_part_of_the_gpu_is_left_to_fragmentation():
    parts = Parts(70, 0, 0, 0, 0, 0, 5.5)
    assert Memory(100, parts, 75, 80).fits
    assert not Memory(100, replace(parts, loss=1.0), 75, 80).fits  # 76.5, above 95%


@pytest.mark.parametrize("recipe", [FULL, LORA, QLORA], ids=["full", "lora", "qlora"])
def test_the_longest_row_that_fits_just_fits(recipe):
    where = machine(8, 80, 2)
    longest = known(memory(shape("32B"), recipe, where).longest_fitting_row)
    recipe = replace(recipe, block_size=10**6)
    assert memory(shape("32B"), recipe, where, longest).fits
    assert not memory(shape("32B"), recipe, where, longest + 10).fits


@pytest.mark.parametrize(
    ("recipe", "complaint"),
    [
        (replace(FULL, weights_dtype="int8"), r"train\.weights_dtype 'int8': its size is unknown"),
        (
            replace(LORA, lora=Lora(8, 8, 0.0, ["q_proj", "w1"])),
            r"train\.lora\.targets \['w1'\]: unknown target modules",
        ),
    ],
)
def test_what_has_no_known_size_is_refused(recipe, complaint):
    with pytest.raises(ConfigError, match=complaint):
        memory(shape("0.5B"), recipe, machine(1, 24))


def test_the_remark_names_every_part_and_the_rows_that_would_fit(golden):
    cases = [
        memory(shape("32B"), FULL, machine(8, 80, 2), S1K),
        memory(shape("32B"), FULL, machine(8, 80, 2)),
        memory(shape("32B"), FULL, machine(8, 80)),
        memory(shape("7B"), QLORA, machine(1, None)),
    ]
    golden("data/memory.txt", "".join(f"{each.remark()}\n" for each in cases))


def test_what_fits_where_is_one_table(golden):
    where = {
        "1 x 24 GB": machine(1, 24),
        "1 x 80 GB": machine(1, 80),
        "8 x 80 GB": machine(8, 80),
        "16 x 80 GB": machine(8, 80, nodes=2),
    }
    recipes = {"full": FULL, "lora": LORA, "qlora": QLORA}
    golden("data/memory.md", table({size: shape(size) for size in SIZES}, recipes, where, (20_000, 32_768)))
