"""Tasks of a user's own: YAML files in tasks/, as lm-eval's documentation writes them."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from s1.asking import questions_of
from s1.config import ConfigError, Hub, Task
from s1.evaluate.disagreements import COLUMNS
from s1.evaluate.own_tasks import read_task, remarks
from s1.evaluate.questions import questions
from s1.evaluate.score import score
from s1.evaluate.task_files import task_file, task_names
from s1.evaluate.task_identity import own_file, scoring
from s1.records import Answer, AnswerEnd, Ending, Outcome, Question, Score, read_rows, write_rows
from s1.stages import Scoring
from sweep.identity import key_of
from sweep.source import source_of
from sweep.stage import FileInput, Work

ROWS = [
    {"id": n, "problem": f"What is {n} times 7?", "answer": 7 * n, "solution": 7 * n, "level": "easy"}
    for n in (2, 5, 6)
]
TEMPLATE = """
doc_to_text: "Solve: {{problem}} Think first."
doc_to_target: "{{solution}}"
process_results: !function s1.evaluate.graders.integer_results
"""
GSM8K = r"""
tag: [math_word_problems]
task: gsm8k_local
dataset_path: json
dataset_kwargs: {data_files: {train: train.jsonl, test: test.jsonl}}
output_type: generate_until
training_split: train
fewshot_split: train
test_split: test
doc_to_text: "Question: {{question}}\nAnswer:"
doc_to_target: "{{answer}}"
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: false
    regexes_to_ignore: [",", "\\$", "(?s).*#### ", "\\.$"]
generation_kwargs: {until: ["Question:", "</s>"], do_sample: false, temperature: 0.0}
repeats: 1
num_fewshot: 2
filter_list:
  - name: strict-match
    filter:
      - {function: regex, regex_pattern: "#### (\\-?[0-9\\.\\,]+)"}
      - {function: take_first}
  - name: flexible-extract
    filter:
      - {function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{2,})|(-?[0-9]+)"}
      - {function: take_first}
"""


@dataclass(frozen=True)
class Place:
    """A directory in which commands are typed."""

    root: Path

    def task(self, text: str, name: str = "mytask") -> None:
        (self.root / "tasks").mkdir(exist_ok=True)
        (self.root / "tasks" / f"{name}.yaml").write_text(text, encoding="utf-8")

    def rows(self, rows: Sequence[Mapping[str, Any]], name: str = "rows.jsonl") -> str:
        (self.root / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return name

    def asked(self, rows: str | None = "rows.jsonl", name: str = "mytask", **fields: Any) -> list[Question]:
        """The questions, planned here and made by a worker that stands elsewhere."""
        stage = questions_of(Task(name, data_file=rows, **fields))
        work = self.work(stage.config, stage.inputs, stage.settings, "questions")
        with chdir(self.root / "store"):
            questions(work)
        return read_rows(work.out / "questions.jsonl", Question)

    def work(
        self, config: Any, inputs: Mapping[str, Sequence[Any]], settings: Mapping[str, Any], name: str
    ) -> Work[Any]:
        out = self.root / "store" / name
        out.mkdir(parents=True)
        paths = {
            role: tuple(each.path if isinstance(each, FileInput) else each for each in given)
            for role, given in inputs.items()
        }
        return Work(name, config, paths, out, out, out, settings=settings, report=lambda done, total, unit: None)

    def scored(self, answers: Sequence[Answer], name: str = "mytask", samples: int = 1) -> list[Score]:
        given = self.root / "store" / "answers"
        given.mkdir()
        write_rows(given / "answers.jsonl", answers)
        inputs = {
            "answers": (given,),
            "questions": (self.root / "store" / "questions",),
        }
        work = self.work(Scoring(name, samples, scoring(name)), inputs, {"task": own_file(name)}, "scores")
        (finished,) = score([work])
        rows = read_rows(work.out / "scores.jsonl", Score)
        assert finished.summary["accuracy"] == sum(row.correct for row in rows) / len(rows)
        return rows


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return Place(tmp_path)


def answer(question: Question, text: str, sample: int = 0, end: AnswerEnd = AnswerEnd.STOP) -> Answer:
    return Answer(question.question_id, sample, 5, [], "", text, Ending.NATURAL, 9, 4, end, 0, 0, 14)


def verdicts(scores: Sequence[Score]) -> list[tuple[str | None, bool]]:
    return [(score.extracted, score.correct) for score in scores]


# ------------------------------------------------------------------------------------------- asked and judged


def test_words_around_the_question_are_asked_once_and_judged(place: Place) -> None:
    place.task(TEMPLATE)
    place.rows(ROWS)
    asked = place.asked()
    assert [each.prompt for each in asked] == [f"Solve: What is {n} times 7? Think first." for n in (2, 5, 6)]
    assert [each.gold for each in asked] == ["14", "35", "42"]
    assert asked[0].doc == ROWS[0]
    scores = place.scored([answer(each, text) for each, text in zip(asked, ["14", r"\boxed{36}", "none"], strict=True)])
    assert verdicts(scores) == [("14", True), ("36", False), (None, False)]
    assert scores[2].outcome is Outcome.NONE


def test_a_stock_task_with_a_regex_filter_and_examples_is_judged_as_lm_eval_does(place: Place) -> None:
    place.task(GSM8K, "gsm8k_local")
    train = [{"question": f"Add {n} and 1.", "answer": f"It is {n} + 1.\n#### {n + 1}"} for n in (10, 20, 30)]
    place.rows(train, "train.jsonl")
    place.rows([{"question": f"Double {n}.", "answer": f"Twice.\n#### {2 * n:,}"} for n in (4, 700)], "test.jsonl")
    asked = place.asked(None, "gsm8k_local")
    assert [each.prompt.count("Question: ") for each in asked] == [3, 3]
    assert asked[0].prompt.endswith("\n\nQuestion: Double 4.\nAnswer:")
    texts = ["Eight.\n#### 8", "#### 1,400 Question: Double 9.\n#### 18", "It is 8", "#### 1400."]
    given = [answer(asked[0], texts[0]), answer(asked[1], texts[1]), answer(asked[0], texts[2], 1)]
    scores = place.scored([*given, answer(asked[1], texts[3], 1)], "gsm8k_local", samples=2)
    assert verdicts(scores) == [("8", True), (None, False), ("1,400", True), ("1400.", True)]
    stock = json.loads((place.root / "store/scores/lm_eval.json").read_text(encoding="utf-8"))["results"]["gsm8k_local"]
    assert stock["exact_match,strict-match"] == 0.75
    assert stock["exact_match,flexible-extract"] == 1.0


def test_functions_of_a_file_beside_the_yaml_see_every_column(place: Place) -> None:
    place.task(
        "include: _base.yaml\nprocess_results: !function mine.graded\nprocess_docs: !function mine.easy\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    )
    (place.root / "tasks" / "_base.yaml").write_text(
        "doc_to_text: !function mine.worded\ndoc_to_target: '{{answer}}'\ndescription: 'Be brief. '\n"
    )
    (place.root / "tasks" / "mine.py").write_text(
        "def worded(doc):\n    return f\"[{doc['level']}] {doc['problem']}\"\n"
        "def easy(rows):\n    return rows.filter(lambda row: row['level'] == 'easy')\n"
        "def graded(doc, results):\n"
        "    return {'acc': int(str(doc['answer']) in results[0] and doc['level'] == 'easy')}\n"
    )
    place.rows([*ROWS, {**ROWS[0], "problem": "Hard.", "level": "hard"}])
    asked = place.asked()
    assert [each.prompt for each in asked] == [f"Be brief. [easy] {row['problem']}" for row in ROWS]
    scores = place.scored([answer(each, f" It is {text}. ") for each, text in zip(asked, (14, 1, 42), strict=True)])
    assert verdicts(scores) == [("It is 14.", True), ("It is 1.", False), ("It is 42.", True)]
    assert [path.name for path in read_task("mytask", task_file("mytask")).files] == [
        *("mytask.yaml", "_base.yaml", "mine.py")
    ]


def test_choices_by_index_and_several_references_are_judged_as_in_lm_eval(place: Place) -> None:
    place.task(
        "doc_to_text: '{{problem}}'\ndoc_to_choice: ['no', 'yes']\ndoc_to_target: label\n"
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}]\n"
    )
    place.task("doc_to_text: problem\ndoc_to_target: names\n", "several")
    place.rows([{"problem": "Is 2 even?", "label": 1, "names": ["yes", "yes, it is"]}])
    (question,) = place.asked()
    assert question.gold == "yes"
    assert verdicts(place.scored([answer(question, "Yes"), answer(question, "no", 1)], samples=2)) == [
        ("Yes", True),
        ("no", False),
    ]
    other = Place(place.root / "other")
    other.root.mkdir()
    (question,) = other.asked(name="several")
    assert question.gold == '["yes", "yes, it is"]'
    scores = other.scored([answer(question, "yes, it is"), answer(question, "no", 1)], "several", samples=2)
    assert [each.correct for each in scores] == [True, False]


def test_the_first_example_is_never_the_question_itself(place: Place) -> None:
    place.task("doc_to_text: problem\ndoc_to_target: '{{answer}}'\nnum_fewshot: 2\n")
    place.rows(ROWS)
    for question, row in zip(place.asked(), ROWS, strict=True):
        assert question.prompt.count(row["problem"]) == 1
        assert question.prompt.endswith(row["problem"])


def test_a_stock_yaml_of_a_hub_dataset_is_asked_over_a_file(place: Place) -> None:
    place.task("dataset_path: openai/gsm8k\ntest_split: test\ntraining_split: train\n" + TEMPLATE)
    place.rows(ROWS)
    assert len(place.asked(limit=2)) == 2


def test_one_model_answer_is_never_judged_for_another_question(place: Place) -> None:
    """Equal prompts under an instruction: each answer meets the reference of its own question."""
    place.task(TEMPLATE)
    twins = [Question("one", "Which?", "1", {"solution": 1}), Question("two", "Which?", "2", {"solution": 2})]
    (place.root / "store" / "questions").mkdir(parents=True)
    write_rows(place.root / "store" / "questions" / "questions.jsonl", twins)
    answers = [answer(each, text, sample) for each in twins for sample, text in enumerate("12")]
    assert [each.correct for each in place.scored(answers, samples=2)] == [True, False, False, True]


# ------------------------------------------------------------------------------------------------ cut answers


def test_what_was_cut_is_no_answer_and_what_a_stop_ends_is_whole(place: Place) -> None:
    place.task(TEMPLATE + "generation_kwargs: {until: ['<end>']}\n")
    place.rows(ROWS)
    asked = place.asked()
    given = [("The answer is 14", AnswerEnd.CONTEXT), ("\\boxed{35}<end>99", AnswerEnd.CONTEXT)]
    given += [("Answer: To find the number below 1000 with", AnswerEnd.CAP)]
    scores = place.scored([answer(each, text, 0, end) for each, (text, end) in zip(asked, given, strict=True)])
    assert [(each.extracted, each.correct, each.answer_end) for each in scores] == [
        (None, False, AnswerEnd.CONTEXT),
        ("35", True, AnswerEnd.STOP),
        (None, False, AnswerEnd.CAP),
    ]
    assert [each.outcome for each in scores] == [Outcome.NONE, Outcome.ANSWERED, Outcome.NONE]


def test_answers_that_two_graders_judge_differently_are_listed(place: Place) -> None:
    place.task(TEMPLATE)
    place.rows(ROWS)
    asked = place.asked()
    texts = ["14", "Answer: 34\nor rather $35$", "x" * 300 + "\nAnswer: $42$"]
    place.scored([answer(each, text) for each, text in zip(asked, texts, strict=True)])
    with (place.root / "store/scores/grader_disagreement.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == COLUMNS
    assert (row["gold"], row["our_reading"], row["our_verdict"], row["math_verify_verdict"]) == (
        *("35", "34", "wrong", "right"),
    )
    assert row["answer_tail"] == texts[1]


# --------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("output_type: multiple_choice", r"output_type 'multiple_choice': only texts are generated"),
        ("output_type: loglikelihood", r"output_type 'loglikelihood': only texts"),
        ("repeats: 4", r"repeats 4: samples are the sweep's"),
        ("filter_list: [{name: vote, filter: [{function: majority_vote}]}]", r"filter_list 'majority_vote': each"),
        ("filter_list: [{name: f, filter: [{function: take_first_k, k: 3}]}]", r"filter_list 'take_first_k': each"),
        ("metric_list: [{metric: bleu}]", r"metric_list 'bleu': does not judge an answer by itself"),
        ("metric_list: [{metric: exact_match, hf_evaluate: true}]", r"metric_list 'exact_match': would be fetched"),
        ("metric_list: [{metric: exact_match, aggregation: median}]", r"aggregation median is no mean over answers"),
        ("metric_list: [{metric: exact_match, higher_is_better: false}]", r"lower is better"),
        ("unsafe_code: true", r"unsafe_code True: answers would be run"),
        ("gen_prefix: 'Answer:'", r"gen_prefix 'Answer:': would begin the answer before the thinking"),
        ("doc_to_image: picture", r"doc_to_image 'picture': images cannot be asked"),
        ("system_instruction: Be brief.", r"system_instruction 'Be brief.': the model's dialect"),
        ("use_prompt: promptsource:x", r"use_prompt 'promptsource:x': prompts of promptsource"),
        ("class: !function mine.Task", r"class mine.Task: a Python task"),
        ("task: [one, two]", r"task \['one', 'two'\]: several tasks"),
        ("doc_to_target: null", r"doc_to_target null: missing"),
        ("num_fewshot: 2\nfewshot_split: train", r"fewshot_split 'train': task.data_file has the rows of test alone"),
        ("generation_kwargs: none", r"generation_kwargs 'none': no mapping"),
        ("generation_kwargs: {until: ['Q:', '']}", r"generation_kwargs.until .*not texts that can end an answer"),
        ("metric_list: exact_match", r"metric_list 'exact_match': no list of mappings"),
        ("filter_list: [{name: first}]", r"filter_list .*no list of mappings"),
        ("include: _gone.yaml", r"_gone.yaml: no such file. Correct the `include`"),
        ("include: mytask.yaml", r"mytask.yaml include: includes itself"),
        ("doc_to_text: 'a\nb: {", r"mytask.yaml: not YAML \("),
        ("- one", r"mytask.yaml: (no fields|not YAML)"),
    ],
)
def test_what_cannot_be_honoured_is_refused_while_planning(place: Place, lines: str, message: str) -> None:
    place.task("doc_to_text: problem\ndoc_to_target: answer\n" + lines if "- one" not in lines else lines)
    place.rows(ROWS)
    with pytest.raises(ConfigError, match=message):
        questions_of(Task("mytask", data_file="rows.jsonl"))


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("doc_to_text: '{{question}}'\ndoc_to_target: answer", r"cannot ask it \(UndefinedError: .*mytask.yaml"),
        ("doc_to_text: level\ndoc_to_target: answer", r"row 5: asks the same as row 2"),
        (
            "doc_to_text: problem\ndoc_to_target: answr",
            r"doc_to_target 'answr': no column \(there are id, problem, answer, solution, level\)",
        ),
        ("doc_to_text: problm\ndoc_to_target: answer", r"doc_to_text 'problm': no column"),
        ("doc_to_text: '  '\ndoc_to_target: answer", r"row 2: doc_to_text gives '  ', which asks nothing"),
        ("doc_to_text: problem\ndoc_to_target: answer\nprompt: x", r"cannot ask it \(TypeError: .*prompt"),
        ("doc_to_text: problem\ndoc_to_target: answer\ntest_split: test\nprocess_docs: !function gone.f", r"load it"),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nfilter_list: [{name: a, filter: [{function: nothing}]}]",
            r"cannot ask it \(KeyError",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.broken",
            r"cannot judge it \(KeyError: 'rubric'\)",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.other",
            r"metric_list 'exact_match': not what process_results returns \(acc\)",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.part",
            r"metric_list 'exact_match': 0.5 for one answer, which is neither 0 nor 1",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.overlap",
            r"metric_list 'exact_match': 0.16.* for one answer, which is neither 0 nor 1",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.chance",
            r"judges the same answers differently",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.generous",
            r"an answer without a word counts as right",
        ),
        (
            "doc_to_text: problem\ndoc_to_target: answer\nprocess_results: !function mine.all\n"
            "metric_list: [{metric: exact_match, aggregation: !function mine.most}]",
            r"lm-eval's 1 is no mean over answers \(0.33",
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
    with pytest.raises(ConfigError, match=r"rows.jsonl: no table \(.*Give each column values of one type"):
        place.asked()
    with pytest.raises(ConfigError, match=r"task.data_file null: task mytask has no rows"):
        questions_of(Task("mytask"))
    place.task("dataset_path: openai/gsm8k\ndoc_to_text: '{{problem}}'\ndoc_to_target: answer\n")
    with pytest.raises(ConfigError, match=r"its dataset_path openai/gsm8k names no commit: give it as task.hub"):
        questions_of(Task("mytask"))
    assert questions_of(Task("mytask", hub=Hub("openai/gsm8k", "0" * 40, "test"))).inputs["rows"] == ()
    place.task("dataset_path: json\ndataset_kwargs: {data_files: gone.jsonl}\n" + TEMPLATE)
    with pytest.raises(ConfigError, match=r"dataset_kwargs.data_files 'gone.jsonl': no such file"):
        questions_of(Task("mytask"))


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


def test_what_words_a_task_is_in_the_key_of_its_questions_and_what_judges_it_is_not(place: Place) -> None:
    place.task("include: _base.yaml\nprocess_results: !function mine.graded\n")
    for name, text in (("_base.yaml", TEMPLATE), ("mine.py", "def graded(doc, results):\n    return {}\n")):
        (place.root / "tasks" / name).write_text(text)
    place.rows(ROWS)

    def state() -> tuple[str, str]:
        source_of.cache_clear()  # a command reads the source once
        return questions_of(Task("mytask", data_file="rows.jsonl")).key, key_of(scoring("mytask"))

    def after(name: str, old: str, new: str) -> tuple[bool, bool]:
        """Whether questions, and whether scores, are others after an edit."""
        before, path = state(), place.root / "tasks" / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        return before[0] != state()[0], before[1] != state()[1]

    assert after("_base.yaml", "Solve:", "Please solve:") == (True, False)
    assert after("mytask.yaml", "include", "description: Be exact.\ninclude") == (True, False)
    assert after("mine.py", "return {}", "return {'exact_match': 1}") == (False, True)
    assert after("mine.py", "return", "# a comment\n    return") == (False, False)
    assert after("mytask.yaml", "include", "# a comment\ninclude") == (False, False)


def test_settings_that_are_not_used_are_said(place: Place) -> None:
    place.task(GSM8K, "gsm8k_local")
    assert remarks(read_task("gsm8k_local", task_file("gsm8k_local"))) == [
        "task gsm8k_local generation_kwargs do_sample, temperature: not used, generate and budget decide",
        "task gsm8k_local filter_list: judged by strict-match; flexible-extract is in lm_eval.json alone",
    ]


def test_an_instruction_follows_ones_own_words_and_changes_no_verdict(place: Place) -> None:
    place.task(TEMPLATE)
    place.rows(ROWS)
    asked = place.asked(instruction="Think for up to 64 tokens.")
    assert asked[0].prompt == "Solve: What is 2 times 7? Think first.\n\nThink for up to 64 tokens."
    assert verdicts(place.scored([answer(each, "14") for each in asked])) == [
        *(("14", True), ("14", False), ("14", False)),
    ]


def test_a_link_to_a_task_finds_what_is_beside_its_file(place: Place) -> None:
    (place.root / "elsewhere").mkdir()
    (place.root / "elsewhere" / "real.yaml").write_text("include: base.yaml\n", encoding="utf-8")
    (place.root / "elsewhere" / "base.yaml").write_text(TEMPLATE, encoding="utf-8")
    (place.root / "tasks").mkdir()
    (place.root / "tasks" / "mytask.yaml").symlink_to(place.root / "elsewhere" / "real.yaml")
    place.rows(ROWS)
    assert len(place.asked()) == 3
