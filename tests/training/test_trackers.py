"""What trackers keep of a run that is killed and resumed, read back with their own readers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt1.errors import ConfigError, MissingExtraError
from gpt1.training import trackers
from gpt1.training.journal import Journal, Sample
from gpt1.training.trackers import TRACKERS, check_trackers
from gpt1.training.tracking import read_metrics

SETTINGS = {"lr": 0.5, "optimizer": {"name": "adamw"}}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The folder of a run, with its settings."""
    folder = tmp_path / "my-run"
    folder.mkdir()
    (folder / "run.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    return folder


def journal(out: Path, name: str, step: int = 0) -> Journal:
    opened = Journal(out, step, (name,))
    opened.open()
    return opened


def killed_and_resumed(out: Path, name: str) -> None:
    """Steps 0 to 4, the last state being that of 2; then 3 to 5, to the end."""
    first = journal(out, name)
    for step in range(5):
        first.write(step, loss=10.0 - step)
    first.write_samples(4, [Sample("a", "a <b> text\n# two lines", [1])])
    first.close(False)
    second = journal(out, name, step=2)
    for step in range(3, 6):
        second.write(step, loss=10.0 - step, grad_norm=None)
    second.write_samples(5, [Sample("a", "a last text", [1])])
    second.close(True)


# TensorBoard


def events(out: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(out / "tensorboard"))
    accumulator.Reload()
    return accumulator


def test_tensorboard_has_every_point_of_a_resumed_run_once(out: Path) -> None:
    killed_and_resumed(out, "tensorboard")
    read = events(out)
    assert [(e.step, e.value) for e in read.Scalars("loss")] == [(s, 10.0 - s) for s in range(6)]
    assert read.Tags()["scalars"] == ["loss"]
    [sample] = read.Tensors("sample-0/text_summary")
    assert sample.step == 5


def test_tensorboard_goes_on_behind_a_file_that_was_cut_off(out: Path) -> None:
    died = journal(out, "tensorboard")
    for step in range(5):
        died.write(step, loss=10.0 - step)
    died.close(False)
    [file] = out.glob("tensorboard/*")
    file.write_bytes(file.read_bytes()[:-3])
    resumed = journal(out, "tensorboard", step=4)
    resumed.write(5, loss=5.0)
    resumed.close(True)
    assert [event.step for event in events(out).Scalars("loss")] == [0, 1, 2, 3, 5]


def test_tensorboard_begins_with_the_settings(out: Path) -> None:
    journal(out, "tensorboard").close(True)
    [event] = events(out).Tensors("settings/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert yaml.safe_load(text) == SETTINGS


def test_tensorboard_has_what_a_killed_run_wrote(out: Path) -> None:
    running = journal(out, "tensorboard")
    running.write(1, loss=3.0)
    assert [e.value for e in events(out).Scalars("loss")] == [3.0]  # not closed, not flushed
    running.close(True)


def test_a_new_run_drops_what_one_that_died_left_in_the_folder(out: Path) -> None:
    died = journal(out, "tensorboard")
    died.write(0, loss=9.0)
    died.close(False)
    journal(out, "tensorboard").close(True)
    assert events(out).Tags()["scalars"] == []


# Weights & Biases


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keeps Weights & Biases off the network and out of the home folder."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))


def wandb_records(out: Path) -> Iterator[Any]:
    """All records of all offline files, in the order written."""
    from wandb.proto.wandb_internal_pb2 import Record

    for file in sorted(out.glob("wandb/offline-run-*/*.wandb"), key=lambda f: f.stat().st_mtime_ns):
        for data in leveldb_log(file.read_bytes()):
            yield Record.FromString(data)


def leveldb_log(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """Records of a file in the log format of LevelDB, behind the 7 bytes wandb begins it with."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        if block - place % block < 7:  # a header is never split; the rest is padding
            place += block - place % block
            continue
        size, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or the last part of one
            yield parts
            parts = b""


def wandb_history(out: Path) -> list[dict[str, Any]]:
    return [
        {
            "/".join([i.key, *i.nested_key]).strip("/"): json.loads(i.value_json)
            for i in r.history.item
        }
        for r in wandb_records(out)
        if r.HasField("history")
    ]


@pytest.mark.usefixtures("offline")
def test_wandb_has_figures_texts_and_settings(out: Path) -> None:
    pytest.importorskip("wandb", reason='needs wandb: pip install "gpt1[track]"')
    running = journal(out, "wandb")
    running.write(1, loss=3.0)
    running.write(1, valid_loss=2.0)
    running.write_samples(1, [Sample("a", "1 < 2", [1])])
    running.write(4, loss=1.5)
    running.close(True)
    figures = [
        {name: row[name] for name in ("_step", "loss", "valid_loss") if name in row}
        for row in wandb_history(out)
    ]
    assert figures == [
        {"_step": 1, "loss": 3.0, "valid_loss": 2.0},
        {"_step": 4, "loss": 1.5},
    ]
    [page] = out.glob("wandb/offline-run-*/files/media/html/*.html")
    assert "1 &lt; 2" in page.read_text(encoding="utf-8")
    [run] = [record.run for record in wandb_records(out) if record.HasField("run")][:1]
    assert (run.project, run.display_name) == ("gpt1", "my-run")
    assert {item.key: item.value_json for item in run.config.update}["lr"] == "0.5"


@pytest.mark.usefixtures("offline")
def test_wandb_knows_a_resumed_run_by_its_id(out: Path) -> None:
    pytest.importorskip("wandb", reason='needs wandb: pip install "gpt1[track]"')
    killed_and_resumed(out, "wandb")
    ids = {record.run.run_id for record in wandb_records(out) if record.HasField("run")}
    assert ids == {json.loads((out / "trackers.json").read_text())["wandb"]}


# MLflow


@pytest.fixture
def mlflow_client(out: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Makes a client for what is in the folder of the run."""
    mlflow = pytest.importorskip("mlflow", reason='needs mlflow: pip install "gpt1[track]"')
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return lambda: mlflow.MlflowClient(f"sqlite:///{out / 'mlflow.db'}")


# What SQLAlchemy says of MLflow's tables is their affair.
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_every_point_of_a_resumed_run_once(
    out: Path, mlflow_client: Callable[[], Any]
) -> None:
    killed_and_resumed(out, "mlflow")
    client = mlflow_client()
    [run] = client.search_runs([client.get_experiment_by_name("gpt1").experiment_id])
    points = client.get_metric_history(run.info.run_id, "loss")
    assert [(p.step, p.value) for p in points] == [(s, 10.0 - s) for s in range(6)]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"lr": "0.5", "optimizer.name": "adamw"}
    texts = sorted(file.read_text() for file in out.glob("mlflow/**/step-*.txt"))
    assert texts == ["a <b> text\n# two lines", "a last text"]


# All of them


def test_the_run_goes_on_without_a_tracker_that_fails(
    out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        def __init__(self, out: Path, step: int) -> None:
            self.calls = 0

        def log(self, step: int, figures: Any) -> None:
            self.calls += 1
            assert self.calls == 1, "asked again"
            raise OSError("no route to host")

    monkeypatch.setitem(TRACKERS, "mlflow", ("json", Failing))
    running = journal(out, "mlflow")
    running.write(1, loss=3.0)
    running.write(2, loss=2.0)
    running.close(True)
    assert caplog.messages == ["mlflow failed and is left out from here on: no route to host"]
    assert [row["step"] for row in read_metrics(out / "metrics.jsonl")] == [1, 2]


def test_a_tracker_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'wandb needs wandb: pip install "gpt1\[track\]"'):
        check_trackers(("wandb",))


def test_by_default_a_run_is_followed_by_tensorboard_where_it_is_installed(
    out: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert check_trackers(None) == ("tensorboard",)
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    assert check_trackers(None) == ()
    caplog.set_level("INFO", logger="gpt1")
    Journal(out, 0, None).open()
    assert caplog.messages == [
        'figures go to metrics.jsonl alone; for TensorBoard as well: pip install "gpt1[track]"'
    ]


def test_no_tracker_at_all_is_a_choice_and_silent(
    out: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="gpt1")
    Journal(out, 0, ()).open()
    assert caplog.messages == []
    assert not (out / "tensorboard").exists()


@pytest.mark.usefixtures("offline")
def test_wandb_that_does_not_start_says_what_to_do(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason='needs wandb: pip install "gpt1[track]"')

    def fail(**settings: Any) -> None:
        raise wandb.errors.UsageError("no API key")

    monkeypatch.setattr(wandb, "init", fail)
    with pytest.raises(ConfigError, match=r"did not start: no API key; see `wandb login`"):
        journal(out, "wandb")
