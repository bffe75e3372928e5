"""The paper's twelve tasks: on real data, and on the forms their official files have."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gpt1.errors import ConfigError
from gpt1.tasks.example import Example, choice, pair, similarity, text
from gpt1.tasks.reading import read_split
from gpt1.tasks.task import NAMES, get_task

SIZES = {
    "cola": {"train": 8_551, "dev": 522},
    "sst2": {"train": 67_349, "dev": 872, "test": 911},
    "mrpc": {"train": 3_668, "dev": 408, "test": 863},
    "qqp": {"train": 15_496, "dev": 4_000},
    "stsb": {"train": 5_749, "dev": 1_500, "test": 692},
    "mnli": {"train": 9_880, "dev": 4_908, "test": 2_265},
    "qnli": {"train": 5_382, "dev": 1_500},
    "rte": {"train": 2_490, "dev": 277, "test": 1_202},
    "snli": {"train": 21_605, "dev": 9_842, "test": 4_912},
    "scitail": {"train": 1_304, "dev": 1_063},
    "race": {"dev": 4_887, "test": 2_469},
    "storycloze": {"train": 1_497, "dev": 374, "test": 936},
}
"""Rows of the shared files; those of RACE's train are counted in a slow test."""

FIRST = {
    "cola": text("The sailors rode the breeze clear of the rocks.", "acceptable"),
    "sst2": text("it 's a charming and often affecting journey .", "positive"),
    "mrpc": similarity(
        "He said the foodservice pie business doesn't fit the company's long-term growth strategy.",
        '"The foodservice pie business does not fit our long-term growth strategy.',
        "equivalent",
    ),
    "qqp": similarity(
        "How do you thank a Disneyland cast member?",
        "How can I go to Disneyland with little money?",
        "not_duplicate",
    ),
    "stsb": similarity(
        "A man with a hard hat is dancing.", "A man wearing a hard hat is dancing.", 5.0
    ),
    "mnli": pair("i don't know um do you do a lot of camping", "I know exactly.", "contradiction"),
    "qnli": pair(
        "Which NFL team represented the AFC at Super Bowl 50?",
        "The American Football Conference (AFC) champion Denver Broncos defeated the National "
        "Football Conference (NFC) champion Carolina Panthers 24–10 to earn their third Super "
        "Bowl title.",
        "entailment",
    ),
    "rte": pair(
        "Dana Reeve, the widow of the actor Christopher Reeve, has died of lung cancer at age 44, "
        "according to the Christopher Reeve Foundation.",
        "Christopher Reeve had an accident.",
        "not_entailment",
    ),
    "snli": pair(
        "Two women are embracing while holding to go packages.",
        "The sisters are hugging goodbye while holding to go packages after just eating lunch.",
        "neutral",
    ),
    "scitail": pair(
        "Based on the list provided of the uses of substances 1-7, estimate the pH of each unknown "
        "and record the number in the data table in the estimated pH column.",
        "If a substance has a ph value greater than 7,that indicates that it is base.",
        "not_entailment",
    ),
    "storycloze": choice(
        "Jackson had always avoided drinking anything alcoholic. He knew that alcohol was "
        "unhealthy and could impair judgement. However, one day Jackson's boss invited him to a "
        "bar for a beer. Jackson found that he loved the taste of beer.",
        ["He decided to have two.", "E spit out his beer."],
        0,
    ),
}
"""First example of the shared dev sets; RACE's has its own test."""

LAYOUTS = {
    "text": ("cola", "sst2"),
    "similarity": ("mrpc", "qqp", "stsb"),
    "pair": ("mnli", "qnli", "rte", "snli", "scitail"),
    "choice": ("race", "storycloze"),
}

# Official files: task, split, path, content, and what it means.
OFFICIAL: list[tuple[str, str, str, str, list[Example]]] = [
    (
        "cola",
        "train",
        "CoLA/train.tsv",
        'gj04\t1\t\tOur friends won\'t "buy this.\nc_13\t0\t*\t"Say" it.\n',
        [text("Our friends won't \"buy this.", "acceptable"), text('"Say" it.', "unacceptable")],
    ),
    ("cola", "test", "CoLA/test.tsv", "index\tsentence\n0\tBill died.\n", [text("Bill died.")]),
    (
        "sst2",
        "dev",
        "SST-2/dev.tsv",
        "sentence\tlabel\nno movement , no `` yuks '' \t0\n",
        [text("no movement , no `` yuks '' ", "negative")],
    ),
    (
        "mrpc",
        "train",
        "msr_paraphrase_train.txt",
        '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t702876\t702977\t"A\tB" said\r\n',
        [similarity('"A', 'B" said', "equivalent")],
    ),
    (
        "mrpc",
        "test",
        "MRPC/test.tsv",
        "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t1089874\t1089925\tA\tB\n",
        [similarity("A", "B")],
    ),
    (
        "qqp",
        "train",
        "QQP/train.tsv",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n133273\t213221\t213222\tA?\tB?\t1\n",
        [similarity("A?", "B?", "duplicate")],
    ),
    (
        "qqp",
        "test",
        "QQP/test.tsv",
        "id\tquestion1\tquestion2\n0\tA?\tB?\n",
        [similarity("A?", "B?")],
    ),
    (
        "stsb",
        "dev",
        "STS-B/dev.tsv",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        "0\tmain-captions\tMSRvid\t2012test\t0000\tnone\tnone\tA.\tB.\t4.750\n",
        [similarity("A.", "B.", 4.75)],
    ),
    (
        "mnli",
        "dev_mismatched",
        "MNLI/dev_mismatched.tsv",
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
        "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\tlabel4\t"
        "label5\tgold_label\n"
        "0\t75290\t75290c\tletters\t( A )\t( B )\t(ROOT A)\t(ROOT B)\tA\tB\tneutral\tentailment\t"
        "entailment\tentailment\tentailment\tentailment\n",
        [pair("A", "B", "entailment")],
    ),
    (
        "mnli",
        "dev",
        "multinli_1.0_dev_matched.jsonl",
        '{"gold_label": "-", "sentence1": "X", "sentence2": "Y", "pairID": "1c"}\n'
        '{"gold_label": "neutral", "sentence1": "A", "sentence2": "B", "pairID": "2n"}\n',
        [pair("A", "B", "neutral")],
    ),
    (
        "mnli",
        "test_mismatched",
        "MNLI/test_mismatched.tsv",
        "index\tgenre\tsentence1\tsentence2\n0\tverbatim\tA\tB\n",
        [pair("A", "B")],
    ),
    (
        "mnli",
        "ax",
        "diagnostic/diagnostic.tsv",
        "index\tsentence1\tsentence2\n0\tThe cat sat.\tIt did not.\n",
        [pair("The cat sat.", "It did not.")],
    ),
    (
        "qnli",
        "train",
        "QNLI/train.tsv",
        "index\tquestion\tsentence\tlabel\n0\tA?\tB.\tnot_entailment\n",
        [pair("A?", "B.", "not_entailment")],
    ),
    (
        "rte",
        "train",
        "RTE/train.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tentailment\n",
        [pair("A.", "B.", "entailment")],
    ),
    (
        "snli",
        "test",
        "snli_1.0/snli_1.0_test.txt",
        "gold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
        "sentence2_parse\tsentence1\tsentence2\tcaptionID\tpairID\tlabel1\tlabel2\n"
        "-\t( X )\t( Y )\t(ROOT X)\t(ROOT Y)\tX\tY\t1.jpg#0\t1r1n\tneutral\tentailment\n"
        "contradiction\t( A )\t( B )\t(ROOT A)\t(ROOT B)\tA\tB\t2.jpg#1\t2r1c\tcontradiction\t\n",
        [pair("A", "B", "contradiction")],
    ),
    (
        "snli",
        "dev",
        "snli_1.0_dev.jsonl",
        '{"annotator_labels": [], "gold_label": "-", "sentence1": "X", "sentence2": "Y"}\n'
        '{"annotator_labels": [], "gold_label": "neutral", "sentence1": "A", "sentence2": "B"}\n',
        [pair("A", "B", "neutral")],
    ),
    (
        "scitail",
        "train",
        "SciTailV1.1/tsv_format/scitail_1.0_train.tsv",
        'Pluto "rotates\tIt does.\tneutral\nA.\tB.\tentails\n',
        [pair('Pluto "rotates', "It does.", "not_entailment"), pair("A.", "B.", "entailment")],
    ),
    (
        "scitail",
        "dev",
        "snli_format/scitail_1.0_dev.txt",
        '{"sentence1": "A.", "sentence2": "B.", "gold_label": "entailment"}\n'
        '{"sentence1": "A.", "sentence2": "C.", "gold_label": "neutral"}\n',
        [pair("A.", "B.", "entailment"), pair("A.", "C.", "not_entailment")],
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_shared_data_are_read_in_full(name: str, shared_data: Path) -> None:
    task = get_task(name)
    layout = next(layout for layout, names in LAYOUTS.items() if name in names)
    for split, size in SIZES[name].items():
        found = read_split(task, shared_data / "tasks", split)
        assert found.summary() == f"{split}: {size:,} examples"
        assert {example.layout for example in found.examples} == {layout}
        labels = {example.label for example in found.examples}
        if task.classes:
            assert labels == set(task.classes)
        elif layout == "choice":
            assert labels == set(range(len(found.examples[0].segments) - 1))
        else:
            assert all(isinstance(label, float) and 0 <= label <= 5 for label in labels)


@pytest.mark.parametrize("name", FIRST)
def test_the_first_shared_example_is_what_the_file_says(name: str, shared_data: Path) -> None:
    found = read_split(get_task(name), shared_data / "tasks" / name, "dev")
    assert found.examples[0] == FIRST[name]


@pytest.mark.parametrize(
    ("name", "split", "path", "content", "examples"),
    OFFICIAL,
    ids=[f"{name}-{path}" for name, _, path, *_ in OFFICIAL],
)
def test_official_files_are_read(
    tmp_path: Path, name: str, split: str, path: str, content: str, examples: list[Example]
) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode())
    found = read_split(get_task(name), tmp_path, split)
    assert list(found.examples) == examples
    assert not found.problems.malformed
    assert read_split(get_task(name), file, split).examples == found.examples


@pytest.mark.parametrize("name", ["snli", "mnli"])
def test_rows_without_a_gold_label_are_left_out_and_counted(tmp_path: Path, name: str) -> None:
    rows = [
        {"premise": "A", "hypothesis": "B", "label": label} for label in ("-", 0, "neutral", "-")
    ]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read_split(get_task(name), tmp_path, "train")
    assert [example.label for example in found.examples] == ["entailment", "neutral"]
    assert found.summary() == "train: 2 examples; 2 left out (no gold label)"


def test_the_hidden_labels_of_the_hub_mean_no_label_but_no_gold_label_in_snli(
    tmp_path: Path,
) -> None:
    rows = [{"premise": "A", "hypothesis": "B", "label": label} for label in (-1, 2)]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_split(get_task("rte"), tmp_path, "test").problems.malformed[0].place == "line 2"
    assert read_split(get_task("mnli"), tmp_path, "test").unlabelled == 1
    assert read_split(get_task("snli"), tmp_path, "test").problems.left_out == {"no gold label": 1}


@pytest.mark.parametrize(("score", "label"), [(-1.0, None), (0, 0.0), ("4.2", 4.2), (5, 5.0)])
def test_a_score_is_a_float_and_hidden_ones_are_none(score: Any, label: float | None) -> None:
    row = {"sentence1": "A", "sentence2": "B", "label": score}
    assert get_task("stsb").transform(row) == similarity("A", "B", label)


def test_a_score_outside_the_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"score '5\.5' is not in 0 to 5"):
        get_task("stsb").transform({"sentence1": "A", "sentence2": "B", "label": "5.5"})


def test_the_papers_results_are_all_there() -> None:
    rows = {
        result.label: (result.metric, result.gpt1, result.earlier)
        for task in map(get_task, NAMES)
        for result in task.results
    }
    assert rows == {
        "MNLI-m": ("accuracy", 82.1, 80.6),
        "MNLI-mm": ("accuracy", 81.4, 80.1),
        "SNLI": ("accuracy", 89.9, 89.3),
        "SciTail": ("accuracy", 88.3, 83.3),
        "QNLI": ("accuracy", 88.1, 82.3),
        "RTE": ("accuracy", 56.0, 61.7),
        "Story Cloze": ("accuracy", 86.5, 77.6),
        "RACE-m": ("accuracy", 62.9, 60.2),
        "RACE-h": ("accuracy", 57.4, 50.3),
        "RACE": ("accuracy", 59.0, 53.3),
        "CoLA": ("matthews", 45.4, 35.0),
        "SST-2": ("accuracy", 91.3, 93.2),
        "MRPC": ("f1", 82.3, 86.0),
        "STS-B": ("pearson", 82.0, 81.0),
        "QQP": ("f1", 70.3, 66.1),
    }


def test_every_task_names_itself_and_its_places_on_the_hub() -> None:
    tasks = [get_task(name) for name in NAMES]
    assert [task.name for task in tasks] == list(NAMES)
    places = Counter((task.hub.dataset, task.hub.config) for task in tasks if task.hub)
    assert len(places) == 11
    assert set(places.values()) == {1}


def test_an_unknown_task_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"no task 'STS-B'; the tasks are cola, .*mean stsb\?"):
        get_task("STS-B")
