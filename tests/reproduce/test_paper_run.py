"""Tables and figures of the paper, from invented data to reports: what is run and what is said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from gpt1.errors import ConfigError, DataError
from gpt1.reproduce.paper_run import reproduce
from gpt1.reproduce.paper_settings import ReproduceConfig
from reproduce.tiny_tasks import Counting


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory, config: ReproduceConfig) -> Path:
    """A folder with a reproduction of table 4 on two of its tasks."""
    out = tmp_path_factory.mktemp("out")
    counting = Counting()
    reproduce("table4", replace(config, tasks=("cola", "sst2")), out, counting)
    # Two tasks, each with two seeds of two networks and with two baselines.
    assert (counting.run, counting.kept) == (2 * (2 * 2 + 2), 0)
    return out


def read(out: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
    return found


def cells(out: Path, name: str) -> list[list[str]]:
    lines = (out / f"{name}.md").read_text(encoding="utf-8").splitlines()
    return [[c.strip() for c in line.strip("|").split("|")] for line in lines if line[:1] == "|"]


def test_a_table_puts_the_paper_beside_every_variant(out: Path) -> None:
    [section] = read(out, "table4")["sections"]
    cola, sst2 = section["rows"]
    assert (cola["label"], cola["paper"], cola["best_earlier"]) == ("CoLA", 45.4, 35.0)
    assert list(sst2["ours"]) == ["full", "scratch", "tfidf", "majority"]
    for row in (cola, sst2):
        assert (row["split"], row["n"], row["n_train"]) == ("dev", 6, 12)
        full = row["ours"]["full"]
        assert len(full["values"]) == 2
        assert full["median"] == median(full["values"])
        assert (full["min"], full["max"]) == (min(full["values"]), max(full["values"]))
        assert row["minutes"]["full"] > 0
        assert any("GLUE's private test set" in reason for reason in row["why"])
        assert "6 of the" in " ".join(row["why"])


def test_figures_of_the_page_are_those_of_the_json(out: Path) -> None:
    [section] = read(out, "table4")["sections"]
    table = {row[0]: row for row in reversed(cells(out, "table4"))}  # the first grid wins
    for row in section["rows"]:
        full = row["ours"]["full"]
        shown = "{median:.1f} ({min:.1f} to {max:.1f})".format(**full)
        assert table[row["label"]][4] == shown
        gap = full["median"] - row["ours"]["scratch"]["median"]
        assert table[row["label"]][8] == f"{gap:+.1f}"
    assert section["summary"][0].startswith("The model is ahead of the same network from scratch")


class Page(HTMLParser):
    """Collects the tags that are open, addresses and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img", "source"):
            self.open.append(tag)
        self.addresses += [v or "" for name, v in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_one_file_with_pictures_for_light_and_dark(out: Path) -> None:
    page = Page()
    page.feed((out / "table4.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert {address.partition(",")[0] for address in page.addresses} == {
        "data:",
        "data:image/svg+xml;base64",
    }
    assert len(set(page.addresses)) == 3  # the empty icon, and the picture in both
    for row in cells(out, "table4"):
        assert all(cell.replace("&#42;", "*") in page.text for cell in row if "---" not in cell)
    assert (out / "table4.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_is_not_done_again(out: Path, config: ReproduceConfig) -> None:
    counting = Counting()
    reproduce("table4", replace(config, tasks=("cola", "sst2")), out, counting)
    assert (counting.run, counting.kept) == (0, 12)
    reproduce("table4", replace(config, tasks=("cola",), seeds=3), out, counting)
    assert counting.run == 2  # the third seed of two networks


def test_the_place_of_data_and_model_makes_no_difference(
    out: Path, config: ReproduceConfig, tmp_path: Path
) -> None:
    data = shutil.copytree(config.data, tmp_path / "data")
    model = shutil.copytree(config.model, tmp_path / "model")
    moved = replace(config, data=str(data), model=str(model), tasks=("cola",))
    counting = Counting()
    reproduce("table4", moved, out, counting)
    assert counting.run == 0


@pytest.mark.parametrize(
    "change",
    [
        {"subset": 10},
        {"dev_subset": 5},
        {"epochs": 2},
        {"lr": 0.02},
        {"batch_size": 4},
        {"pdrop": 0.0},
        {"warmup_fraction": 0.5},
        {"precision": "bf16"},
        {"seed": 7},
    ],
    ids=str,
)
def test_another_setting_is_another_experiment(
    out: Path, config: ReproduceConfig, change: dict[str, Any]
) -> None:
    counting = Counting()
    changed = replace(config, tasks=("cola",), beside=(), seeds=1, **change)
    reproduce("table4", changed, out, counting)
    assert (counting.run, counting.kept) == (1, 0)


def test_an_interrupted_reproduction_goes_on_where_it_stopped(
    config: ReproduceConfig, tmp_path: Path
) -> None:
    short = replace(config, tasks=("rte",), seeds=2, beside=("scratch",))
    with pytest.raises(KeyboardInterrupt):
        reproduce("table2", short, tmp_path, Counting(interrupt_after=1))
    assert len(list((tmp_path / "runs").iterdir())) == 1
    counting = Counting()
    reproduce("table2", short, tmp_path, counting)
    assert (counting.run, counting.kept) == (3, 1)


def test_tables_2_and_3_score_the_splits_of_the_paper(
    config: ReproduceConfig, tmp_path: Path
) -> None:
    quick = replace(
        config, tasks=("mnli", "race", "snli", "scitail"), seeds=1, beside=("majority",)
    )
    for name in ("table2", "table3"):
        reproduce(name, quick, tmp_path)
    rows = {
        row["label"]: row
        for name in ("table2", "table3")
        for row in read(tmp_path, name)["sections"][0]["rows"]
    }
    assert {label: row["split"] for label, row in rows.items()} == {
        "MNLI-m": "dev",
        "MNLI-mm": "dev_mismatched",
        "SNLI": "test",
        "SciTail": "dev",
        "RACE-m": "test",
        "RACE-h": "test",
        "RACE": "test",
    }
    assert (rows["RACE-m"]["n"], rows["RACE-h"]["n"], rows["RACE"]["n"]) == (3, 3, 6)
    of_parts = [rows[label]["ours"]["full"]["median"] for label in ("RACE-m", "RACE-h")]
    assert rows["RACE"]["ours"]["full"]["median"] == pytest.approx(sum(of_parts) / 2)
    assert "the data has no test split" in " ".join(rows["SciTail"]["why"])


def test_a_split_that_is_not_there_is_not_made_up(config: ReproduceConfig, tmp_path: Path) -> None:
    data = shutil.copytree(config.data, tmp_path / "data")
    (data / "mnli" / "dev_mismatched.jsonl").unlink()
    shutil.rmtree(data / "rte")
    quick = replace(config, data=str(data), tasks=("mnli", "rte"), seeds=1, beside=("majority",))
    reproduce("table2", quick, tmp_path / "out")
    [section] = read(tmp_path / "out", "table2")["sections"]
    _, mismatched = section["rows"]
    assert mismatched["split"] is None
    assert mismatched["ours"] == {}
    assert mismatched["why"] == ["not scored: the data has no split dev_mismatched"]
    assert section["not_run"] == ["rte"]
    with pytest.raises(DataError, match="no train data of rte"):
        reproduce("table2", replace(quick, tasks=("rte",)), tmp_path / "out")
    with pytest.raises(DataError, match="none of the tasks race is of this table or figure"):
        reproduce("table2", replace(quick, tasks=("race",)), tmp_path / "out")


def test_each_variant_goes_on_with_the_rate_that_is_best_for_it(
    config: ReproduceConfig, tmp_path: Path
) -> None:
    grid = replace(config, tasks=("sst2",), lr=None, lr_grid=(0.05, 1e-9), epochs=8)
    counting = Counting()
    reproduce("table4", grid, tmp_path, counting)
    [row] = read(tmp_path, "table4")["sections"][0]["rows"]
    # Both rates of both networks with the first seed, then the best ones with the second.
    assert counting.run == 2 * 2 + 2 + 2
    runs = [json.loads(f.read_text(encoding="utf-8")) for f in (tmp_path / "runs").iterdir()]
    for variant in ("full", "scratch"):
        first = {
            run["settings"]["lr"]: run["figures"]["dev:accuracy"]
            for run in runs
            if run["settings"]["variant"] == variant and run["settings"]["seed"] == grid.seed
        }
        best = max(grid.lr_grid, key=first.__getitem__)
        assert row["learning_rates"][variant] == best


def test_table_5_has_the_four_rows_of_the_paper(config: ReproduceConfig, tmp_path: Path) -> None:
    report = reproduce("table5", replace(config, tasks=("cola", "mnli"), seeds=2), tmp_path)
    data = report.sections[0].data
    rows = data["ablations"]
    assert [row["variant"] for row in rows] == ["full", "scratch", "no_lm", "lstm"]
    for row in rows:
        values = [spread["values"] for spread in row["ours"].values()]
        assert row["mean"]["values"] == pytest.approx(np.mean(values, axis=0))
        assert row["paper_mean"] == pytest.approx(sum(row["paper"].values()) / 2)
    by_label = {row["label"]: row["ours"]["full"]["values"] for row in data["rows"]}
    both = np.mean([by_label["MNLI-m"], by_label["MNLI-mm"]], axis=0)
    assert rows[0]["ours"]["mnli"]["values"] == pytest.approx(both)
    assert (tmp_path / "table5.png").exists()


def test_table_5_without_an_lstm_says_so(config: ReproduceConfig, tmp_path: Path) -> None:
    quick = replace(config, tasks=("rte",), seeds=1, lstm=None)
    section = reproduce("table5", quick, tmp_path).sections[0]
    assert section.data["ablations"][3]["mean"] is None
    assert any("no --lstm is given" in remark for remark in section.remarks)


def test_figure_2_has_both_panels(config: ReproduceConfig, tmp_path: Path) -> None:
    quick = replace(config, tasks=("mnli",), seeds=1)
    counting = Counting()
    section = reproduce("figure2", quick, tmp_path, counting).sections[0]
    # No embeddings, 0, 1 and 2 blocks; four tasks on three snapshots of two models.
    assert counting.run == 4 + 4 * 3 * 2
    [transfer] = section.data["transfer"]
    assert list(transfer["blocks"]) == ["-1", "0", "1", "2"]
    courses = section.data["zero_shot"]
    assert [(c["model"], c["task"]) for c in courses[:2]] == [
        ("Transformer", "sst2"),
        ("Transformer", "dprd"),
    ]
    assert all([p["step"] for p in c["points"]] == [0, 10, 100] for c in courses)
    for course in courses:
        best = course["best_single_model"] or 1.0
        for p in course["points"]:
            scaled = (p["score"] - p["chance"]) / (best - p["chance"])
            assert p["scaled"] == pytest.approx(scaled)
    assert {f.name for f in tmp_path.glob("*.png")} == {"figure2-left.png", "figure2-right.png"}


def test_ends_of_the_transfer_are_experiments_of_the_tables(
    config: ReproduceConfig, tmp_path: Path
) -> None:
    quick = replace(config, tasks=("mnli",), seeds=1, panel="left")
    reproduce("figure2", quick, tmp_path)
    counting = Counting()
    reproduce("table2", replace(quick, beside=("scratch",)), tmp_path, counting)
    assert (counting.run, counting.kept) == (0, 2)


def test_figure_2_without_snapshots_says_so(config: ReproduceConfig, tmp_path: Path) -> None:
    quick = replace(config, checkpoints=None, lstm_checkpoints=None, panel="right")
    section = reproduce("figure2", quick, tmp_path).sections[0]
    assert any("no --checkpoints is given" in remark for remark in section.remarks)
    with pytest.raises(DataError, match="has no folder snapshots/step-N"):
        reproduce("figure2", replace(quick, checkpoints=str(tmp_path)), tmp_path)


def test_all_in_one_report_counts_over_all_tables(config: ReproduceConfig, tmp_path: Path) -> None:
    quick = replace(
        config, tasks=("rte", "race", "cola"), seeds=1, beside=("majority",), panel="right"
    )
    report = reproduce("paper", quick, tmp_path)
    assert [s.name for s in report.sections] == ["table2", "table3", "table4", "table5", "figure2"]
    assert "of 3 tasks" in report.summary[0]
    assert report.summary[0] in (tmp_path / "paper.md").read_text(encoding="utf-8")


def test_an_lstm_is_not_the_model(config: ReproduceConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is an LSTM; name it with --lstm"):
        reproduce("table4", replace(config, model=config.lstm or ""), tmp_path)
