"""Tasks of one's own that cannot be honoured, or whose rows do not fit, are refused before generation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from s1.config.schema import ConfigError, Hub, Task
from s1.evaluate.task_files import read_task, remarks, task_file, task_names
from s1.evaluation_stages import questions_stage
from tests.support.own_tasks import GSM8K, ROWS, TEMPLATE, Place


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("output_type: multiple_choice", r"output_type 'multiple_choice': only text generation is supported"),
        ("output_type: loglikelihood", r"output_type 'loglikelihood': only text generation is supported"),
        ("repeats: 4", r"repeats 4: the sweep sets the number of samples"),
        ("filter_list: [{name: vote, filter: [{function: majority_vote}]}]", r"filter_list 'majority_vote': each"),
        ("filter_list: [{name: f, filter: [{function: take_first_k, k: 3}]}]", r"filter_list 'take_first_k': each"),
        ("metric_list: [{metric: bleu}]", r"metric_list 'bleu': does not grade a single answer as right or wrong"),
        ("metric_list: [{metric: exact_match, hf_evaluate: true}]", r"metric_list 'exact_match': would be downloaded"),
        ("metric_list: [{metric: exact_match, aggregation: median}]", r"aggregation median is not a mean over answers"),
        ("metric_list: [{metric: exact_match, higher_is_better: false}]", r"lower is better"),
        ("unsafe_code: true", r"unsafe_code True: would run answers as code"),
        ("gen_prefix: 'Answer:'", r"gen_prefix 'Answer:': would start the answer before the thinking"),
        ("doc_to_image: picture", r"doc_to_image 'picture': images are not supported"),
        ("system_instruction: Be brief.", r"system_instruction 'Be brief.': the model's thinking format"),
        ("use_prompt: promptsource:x", r"use_prompt 'promptsource:x': promptsource is not supported"),
        ("class: !function mine.Task", r"class mine.Task: Python tasks are not supported"),
        ("task: [one, two]", r"task \['one', 'two'\]: defines several tasks"),
        ("doc_to_target: null", r"doc_to_target null: missing"),
        ("num_fewshot: 2\nfewshot_split: train", r"fewshot_split 'train': task.data_file only has the rows of test"),
        ("generation_kwargs: none", r"generation_kwargs 'none': not a mapping"),
        ("generation_kwargs: {until: ['Q:', '']}", r"generation_kwargs.until .*not a list of non-empty strings"),
        ("metric_list: exact_match", r"metric_list 'exact_match': not a list of mappings"),
        ("filter_list: [{name: first}]", r"filter_list .*not a list of mappings"),
        ("include: _gone.yaml", r"_gone.yaml: no such file. Correct the `include`"),
        ("include: mytask.yaml", r"mytask.yaml include: includes itself"),
        ("doc_to_text: 'a\nb: {", r"mytask.yaml: not YAML \("),
        ("- one", r"mytask.yaml: (has no fields|not YAML)"),
    ],
)
def test_unsupported_fields_are_refused_while_planning(place: Place, lines: str, message: str) -> None:
    place.task("doc_to_text: problem\ndoc_to_target: answer\n" + lines if "- one" not in lines else lines)
    place.rows(ROWS)
    with pytest.raises(ConfigError, match=message):
        questions_stage(Task("mytask", data_file="rows.jsonl"))


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (
            "doc_to_text: '{{question}}'\ndoc_to_target: answer",
            r"render prompts of this task \(UndefinedError: .*mytask",
        ),
        ("doc_to_text: level\ndoc_to_target: answer", r"row 5: has the same question as row 2"),
        (
            "doc_to_text: problem\ndoc_to_target: answr",
            r"doc_to_target 'answr': not a column \(columns: id, problem, answer, solution, level\)",
        ),
        ("doc_to_text: problm\ndoc_to_target: answer", r"doc_to_text 'problm': not a column"),
        ("doc_to_text: '  '\ndoc_to_target: answer", r"row 2: doc_to_text gives '  ', not a question"),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprompt: x",
            r"render prompts of this task \(TypeError: .*prompt",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\ntest_split: test\nprocess_docs: !function gone.f",
            r"load this task",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nfilter_list: [{name: a, filter: [{function: nothing}]}]",
            r"cannot render prompts of this task \(KeyError",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.broken",
            r"cannot grade this task \(KeyError: 'rubric'\)",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.other",
            r"metric_list 'exact_match': process_results does not return it \(returned: acc\)",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.part",
            r"metric_list 'exact_match': gives 0.5 for one answer instead of 0 or 1",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.overlap",
            r"metric_list 'exact_match': gives 0.16.* for one answer instead of 0 or 1",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.chance",
            r"grades the same answers differently",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.generous",
            r"an empty answer counts as right",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.all\n"
            "metric_list: [{metric: exact_match, aggregation: !function mine.most}]",
            r"lm-eval reports 1, which is not the mean over answers \(0.33",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: level\nprocess_results: !function s1.evaluate.graders.letter_results",
            r"row 2: the reference 'easy' cannot be graded",
        ),
    ],
)
def test_what_shows_only_with_its_rows_is_refused_before_generation(place: Place, yaml: str, message: str) -> None:
    place.task(yaml)
    (place.root / "tasks" / "mine.py").write_text(
        "import itertools\n"
        "def broken(doc, results):\n    return {'exact_match': doc['rubric'] == results[0]}\n"
        "def other(doc, results):\n    return {'acc': 1}\n"
        "def part(doc, results):\n    return {'exact_match': 0.5}\n"
        "def overlap(doc, results):\n    words = results[0].split()\n"
        "    return {'exact_match': words.count(str(doc['answer'])) / max(1, len(words))}\n"
        "counter = itertools.count()\n"
        "def chance(doc, results):\n    return {'exact_match': next(counter) % 4 == 0}\n"
        "def generous(doc, results):\n    return {'exact_match': True}\n"
        "def all(doc, results):\n    return {'exact_match': int(doc['id'] == 2)}\n"
        "def most(values):\n    return max(values)\n"
    )
    place.rows(ROWS)
    with pytest.raises(ConfigError, match=message):
        place.asked()


def test_examples_come_from_another_split_of_the_same_commit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.task(GSM8K.replace("dataset_path: json", "dataset_path: openai/gsm8k"), "gsm8k_local")
    loaded: list[Hub] = []

    def rows_at(hub: Hub, *_told: str) -> list[dict[str, str]]:
        loaded.append(hub)
        return [{"question": f"{hub.split} {n}?", "answer": f"#### {n}"} for n in range(3)]

    monkeypatch.setattr("s1.evaluate.replay.rows_at", rows_at)
    hub = Hub("openai/gsm8k", "0" * 40, "test", "main")
    asked = place.asked(None, "gsm8k_local", hub=hub)
    assert loaded == [hub, replace(hub, split="train")]
    assert [each.prompt.count("Question: train") for each in asked] == [2, 2, 2]


def test_rows_of_mixed_types_and_no_rows_are_refused(place: Place) -> None:
    place.task("doc_to_text: '{{problem}}'\ndoc_to_target: answer\n")
    place.rows([{"problem": "One?", "answer": 1}, {"problem": "Two?", "answer": "two"}])
    with pytest.raises(ConfigError, match=r"rows.jsonl: cannot be read as a table .*values of one type"):
        place.asked()
    with pytest.raises(ConfigError, match=r"task.data_file null: task mytask has no rows"):
        questions_stage(Task("mytask"))
    place.task("dataset_path: openai/gsm8k\ndoc_to_text: '{{problem}}'\ndoc_to_target: answer\n")
    with pytest.raises(ConfigError, match=r"its dataset_path openai/gsm8k is not pinned: give it as task.hub"):
        questions_stage(Task("mytask"))
    assert questions_stage(Task("mytask", hub=Hub("openai/gsm8k", "0" * 40, "test"))).inputs["rows"] == ()
    place.task("dataset_path: json\ndataset_kwargs: {data_files: gone.jsonl}\n" + TEMPLATE)
    with pytest.raises(ConfigError, match=r"dataset_kwargs.data_files 'gone.jsonl': no such file"):
        questions_stage(Task("mytask"))


def test_names_of_both_folders_are_known_and_shipped_ones_are_taken(place: Place) -> None:
    place.task(TEMPLATE, "my_math")
    place.task(TEMPLATE, "_base")
    assert {"my_math", "math500", "dial"} <= set(task_names())
    assert "_base" not in task_names()
    with pytest.raises(ConfigError, match=r"task.name 'my_meth': no such task. Known: my_math, .*aime24"):
        task_file("my_meth")
    with pytest.raises(ConfigError, match=r"task.name '../x': no such task"):
        task_file("../x")
    place.task(TEMPLATE, "dial")
    with pytest.raises(ConfigError, match=r"task.name 'dial': tasks/dial.yaml has the name of a shipped task. Rename"):
        task_file("dial")


def test_settings_that_are_not_used_are_said(place: Place) -> None:
    place.task(GSM8K, "gsm8k_local")
    assert remarks(read_task("gsm8k_local", task_file("gsm8k_local"))) == [
        "task gsm8k_local generation_kwargs do_sample, temperature: ignored, generate and budget decide",
        "task gsm8k_local filter_list: strict-match grades; flexible-extract is only in lm_eval.json",
    ]
