"""That the benchmarks run, compare like with like, and report what they measured."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks import decode, exports, finetune, options, pack, report, startup, step, task
from benchmarks.__main__ import main
from benchmarks.child import call
from benchmarks.machine import bandwidth_probe, facts, peak_rss_mb
from benchmarks.options import Options
from benchmarks.report import Row
from benchmarks.timing import interleave, summarize

from gpt1.checkpoint import load_model, save_model
from gpt1.config import GPTConfig
from gpt1.model import GPT
from gpt1.reproduce import tutorial_recipe as tutorial
from gpt1.tokenizer import Tokenizer

JOKES = [
    f"Why did the {who} cross the {what}? To {do} the {where}!"
    for who in ("hen", "old dog", "cat", "judge")
    for what in ("road", "river", "town")
    for do in ("see", "paint", "buy")
    for where in ("moon", "other side", "inn", "sea", "farm")
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """Options for a tiny model without dropout, its vocabulary and some jokes."""
    folder = tmp_path_factory.mktemp("benchmarks")
    tokenizer = Tokenizer.train(["joke : endoftext < | >", *JOKES], vocab_size=120)
    shape = GPTConfig(
        vocab_size=len(tokenizer),
        n_layer=2,
        n_head=2,
        n_embd=16,
        n_positions=64,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        resid_pdrop=0.0,
    )
    torch.manual_seed(0)
    save_model(folder / "tiny", GPT(shape), tokenizer)
    for name, jokes in (("train", JOKES), ("valid", JOKES[::7])):
        text = "\n".join(["Joke", *(f'"{joke}"' for joke in jokes)])
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return Options(
        quick=True,
        data=folder / "train.csv",
        valid_data=folder / "valid.csv",
        vocabulary=folder / "tiny",
        model=str(folder / "tiny"),
    )


def measures(found: report.Report) -> list[tuple[str, str]]:
    """What the JSON of a report has rows for; every row has a positive sample of ours."""
    rows = json.loads(json.dumps(found.as_dict()))["rows"]
    assert all(row["gpt1"]["median"] > 0 for row in rows)
    return [(row["measure"], row["beside"]) for row in rows]


def test_decode_generates_the_same_tokens_on_both_sides(tiny: Options) -> None:
    found = decode.run(tiny)
    assert found.same == {"tokens": True}
    assert found.settings["distinct_tokens"] > 5
    assert measures(found) == [
        ("decoding speed", "transformers"),
        ("decoding speed", "bound by memory bandwidth"),
        ("peak memory of decoding", "transformers"),
    ]


def test_decode_notices_a_peer_that_generates_other_tokens(
    tiny: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(decode.LOADERS, "transformers", lambda _: lambda _, n: [0] * n)
    assert decode.run(tiny).same == {"tokens": False}
    assert main(["decode", "--quick"]) == 1


def test_decode_counts_the_weights_a_step_reads() -> None:
    model = GPT(GPTConfig(n_layer=1, n_head=1, n_embd=4, n_positions=8, vocab_size=10))
    block = 4 * 12 + 12 + 4 * 4 + 4 + 2 * 8 + 4 * 16 + 16 + 16 * 4 + 4
    assert decode.bytes_read_per_token(model) == 4 * (block + 10 * 4)


def test_pack_gives_the_same_ids_on_both_sides(tiny: Options) -> None:
    found = pack.run(tiny)
    assert set(found.same.values()) == {True}
    assert found.settings["jokes"] == pack.QUICK_TEXTS
    assert [(measure.partition(",")[0], beside) for measure, beside in measures(found)] == [
        ("tokenise and pack", "tutorial"),
        ("tokenise and pack", "tokenizers library alone"),
        ("peak memory of packing", "tutorial"),
    ] * len(pack.THREADS)


def test_pack_gives_the_same_ids_with_openais_vocabulary(shared_data: Path, tiny: Options) -> None:
    assert pack.same_ids(str(tiny.data), str(shared_data / "openai-bpe"), None)


def test_finetune_judges_both_recipes_on_the_same_tokens(tiny: Options) -> None:
    found = finetune.run(tiny)
    assert measures(found) == [
        ("held-out loss before training", ""),
        ("held-out loss after training", "tutorial"),
        ("time of the whole run", "tutorial"),
        ("peak memory of training", "tutorial"),
    ]
    before, after = found.rows[:2]
    assert after.ours[0] < before.ours[0]
    assert after.other[0] == pytest.approx(before.ours[0], abs=0.01)  # its rate is still near 0
    assert found.settings["updates"] > 0
    assert found.settings["tutorial_updates"] > 0


def test_a_recipe_that_fails_ends_the_benchmark(tiny: Options, tmp_path: Path) -> None:
    file = tmp_path / "no.csv"
    with pytest.raises(RuntimeError, match="gpt1 finetune lm ended with 2"):
        finetune.train_ours(tiny.model, str(file), 1, str(tmp_path / "out"), 0)


def test_the_tutorial_trains_our_module_and_transformers_alike(
    tiny: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tutorial, "LEARNING_RATE", 50.0)  # a thousandth of it in this short run
    folders = {peer: str(tmp_path / peer) for peer in ("gpt1", "transformers")}
    for peer, out in folders.items():
        done = finetune.train_tutorial(tiny.model, str(tiny.data), 1, out, 0, peer)  # type: ignore[arg-type]
        assert done["updates"] >= 2
    ours, theirs = (load_model(out).state_dict() for out in folders.values())
    start = load_model(tiny.model).state_dict()
    assert not torch.allclose(ours["h.0.attn.c_attn.weight"], start["h.0.attn.c_attn.weight"])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_step_predicts_an_update_alone_and_on_two_processes(tiny: Options) -> None:
    found = step.run(tiny)
    assert measures(found) == [
        ("update, 1 process, tiny", "predicted"),
        ("update, 2 processes, tiny", "predicted"),
    ]
    assert found.settings["all_reduce_gb_per_s"] > 0


def test_step_asks_the_model_with_the_rates_of_the_round() -> None:
    case = step.QUICK["tiny"]
    slow = {"flops": 1e6, "bandwidth": 1e15}
    flops = 6 * (12 * 16**2 + 50 * 16) + 12 * 16 * 8
    assert step.predicted(case, slow) == pytest.approx(2 * 8 * flops / 1e6, rel=1e-3)


def test_startup_runs_each_command_once_more_than_it_counts(tmp_path: Path) -> None:
    file = tmp_path / "calls"
    code = f"open({str(file)!r}, 'a').write('x')"
    times = startup.measure({"python": [sys.executable, "-c", code]}, rounds=2)
    assert len(times["python"]) == 2
    assert file.read_text() == "xxx"


def test_startup_sets_bars_for_help_and_the_first_token() -> None:
    times = {name: [1.0 + 0.25 * n] for n, name in enumerate(startup.commands("x"))}
    rows = startup.rows(times)
    assert [(row.measure, row.beside, row.figure[0], row.met) for row in rows] == [
        ("import gpt1", "python", 0.25, None),
        ("gpt1 --help", "python", 0.5, None),
        ("gpt1 generate --help", "", 1.75, False),
        ("first token", "import torch", 0.25, True),
        ("first token", "transformers", 2.5 / 2.25, None),
    ]


def test_a_command_that_fails_is_not_timed() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        startup.seconds([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.slow
def test_startup_measures_every_command(tiny: Options) -> None:
    assert len(measures(startup.run(tiny))) == 5


def test_exports_agree_where_the_weights_are_the_same(tiny: Options) -> None:
    for package in ("onnx", "onnxruntime", "ctranslate2"):
        pytest.importorskip(package, reason="of the extra export")
    found = exports.run(tiny)
    assert len(found.same) == 2
    assert set(found.same.values()) == {True}
    others = [name for name in exports.SIDES if name != exports.OURS]
    wanted = ("size of the folder", "decoding speed", "perplexity")
    assert measures(found) == [(measure, name) for measure in wanted for name in others]


def test_exports_notice_other_tokens_and_another_perplexity() -> None:
    tokens = {name: [1, 2] for name in exports.SIDES}
    figures = {name: [47.0] for name in exports.SIDES}
    assert set(exports.agreement(tokens, figures).values()) == {True}
    wrong = exports.agreement({**tokens, "ONNX Runtime float32": [1, 3]}, figures)
    assert list(wrong.values()) == [False, True]
    wrong = exports.agreement(tokens, {**figures, "CTranslate2 float32": [47.1]})
    assert list(wrong.values()) == [True, False]


def test_task_has_the_same_loss_on_all_sides(tiny: Options) -> None:
    found = task.run(tiny)
    assert [beside for _, beside in measures(found)] == [
        "gpt1, a row for every option",
        "transformers",
    ]
    assert found.same == {"loss of the options at the start": True}


@pytest.mark.slow
def test_all_benchmarks_run_in_processes_of_their_own(tiny: Options, tmp_path: Path) -> None:
    words = ["--rounds", "1", "--max-texts", "100", "--model", tiny.model, "--out", str(tmp_path)]
    words += ["--data", str(tiny.data), "--vocabulary", str(tiny.vocabulary)]
    command = [sys.executable, "-m", "benchmarks", "pack", "finetune", *words]
    assert "tokenise and pack" in subprocess.run(command, stdout=-1, text=True, check=True).stdout
    assert {file.name for file in tmp_path.iterdir()} == {"pack.json", "finetune.json"}


def test_sides_take_turns() -> None:
    order: list[str] = []
    results = interleave({name: partial(order.append, name) for name in "ab"}, rounds=2)
    assert order == ["a", "b", "a", "b"]
    assert {name: len(values) for name, values in results.items()} == {"a": 2, "b": 2}


def test_a_summary_has_median_and_spread() -> None:
    assert summarize([3.0, 1.0, 10.0]) == (3.0, 1.0, 10.0, 3)


def test_a_process_of_its_own_reports_its_own_peak_of_memory() -> None:
    ballast = b"x" * 500_000_000
    found = call(json.loads, {"s": "[1, 2]"})
    assert found.result == [1, 2]
    assert 2 < found.peak_mb < peak_rss_mb() - 400
    assert len(ballast) == 500_000_000


def test_a_process_of_its_own_has_the_threads_asked_for() -> None:
    names = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS")
    assert [call(os.getenv, {"key": name}, threads=1).result for name in names] == ["1", "1"]


def test_a_process_that_fails_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        call(os.getenv, {"wrong": 1})
    assert "unexpected keyword argument 'wrong'" in capfd.readouterr().err


def test_machine_facts_name_processor_threads_and_versions() -> None:
    found = facts()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert found["torch_threads"] == torch.get_num_threads()
    assert found["torch"] == torch.__version__


def test_bandwidth_is_within_what_memory_can_do() -> None:
    assert 1e8 < bandwidth_probe(2**22)() < 1e13


def row(how: report.How | None, bar: float | None = None, **changes: Any) -> Row:
    sides = {"ours": [4.0, 6.0, 5.0], "other": [2.0, 2.0, 1.0], **changes}
    return Row(measure="m", unit="u", beside="peer", how=how, bar=bar, **sides)


@pytest.mark.parametrize(
    ("how", "figure"),
    [
        ("times", [2.0, 3.0, 5.0]),
        ("times less", [0.5, 1 / 3, 0.2]),
        ("%", [200.0, 300.0, 500.0]),
        ("more", [2.0, 4.0, 4.0]),
        (None, [4.0, 6.0, 5.0]),
    ],
)
def test_figures_compare_the_sides_round_by_round(how: Any, figure: list[float]) -> None:
    assert row(how).figure == pytest.approx(figure)


@pytest.mark.parametrize(
    ("how", "bar", "met"),
    [
        ("times", 3.0, True),
        ("times", 3.1, False),
        ("more", 4.0, True),
        ("more", 3.9, False),
        (None, 5.0, True),
        (None, 4.9, False),
        ("times", None, None),
    ],
)
def test_a_bar_is_a_least_ratio_or_a_most_value(
    how: Any, bar: float | None, met: bool | None
) -> None:
    assert row(how, bar).met is met


def test_sides_with_different_numbers_of_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        _ = row("times", other=[1.0]).figure


def test_markdown_has_one_line_for_each_row() -> None:
    found = report.Report(name="b", title="t", rows=[row("times", 2.0), row(None, 4.5, other=())])
    assert report.markdown([found.as_dict()]).splitlines() == [
        "| benchmark | measure | unit | gpt1 | beside | figure | bar |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| b | m | u | 5 (4–6) | peer: 2 (1–2) | 3 (2–5) times | ≥ 2: met |",
        "| b | m | u | 5 (4–6) | peer |  | ≤ 4.5: missed |",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.1235"), (12.3456, "12.35"), (123456.7, "123,457"), (0.0, "0")]
)
def test_numbers_have_four_digits(value: float, text: str) -> None:
    assert report.number(value) == text


def test_results_are_written_and_printed_again_as_markdown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["decode", "--quick", "--out", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "quick: the figures say nothing" in table
    assert "same tokens: yes" in table
    found = json.loads((tmp_path / "decode.json").read_text(encoding="utf-8"))
    assert math.isfinite(found["rows"][0]["figure"]["median"])
    assert main(["--markdown", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == report.markdown([found])


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["decoed"])
    message = "no benchmark 'decoed'; there are decode, tokenize, pack, finetune, task, startup"
    assert message in capsys.readouterr().err


def test_a_number_of_rounds_is_at_least_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["startup", "--rounds", "0"])
    assert "--rounds: must be at least 1, not '0'" in capsys.readouterr().err


def test_a_model_that_is_not_there_is_a_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["startup", "--quick", "--model", "no-such-folder"]) == 2
    assert "no folder 'no-such-folder'" in capsys.readouterr().err


def test_without_held_out_jokes_every_tenth_is_held_out(tiny: Options) -> None:
    train, held_out = Options(data=tiny.data, max_texts=40).split()
    assert held_out == JOKES[:40:10]
    assert train == [joke for n, joke in enumerate(JOKES[:40]) if n % 10]


def test_the_shared_jokes_have_their_own_held_out_ones(
    monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    monkeypatch.setattr(options, "SHARED_DATA", shared_data)
    train, held_out = Options(max_texts=50).split()
    assert (len(train), len(held_out)) == (50, 50)
    assert not set(train) & set(held_out)


def test_the_jokes_of_the_package_serve_where_there_is_no_other_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Options
) -> None:
    monkeypatch.setattr(options, "SHARED_DATA", tmp_path)
    bare = Options(model=tiny.model)
    assert bare.data == options.BUNDLED_JOKES
    assert min(map(len, bare.split())) > 10
    assert bare.vocabulary_folder() == Path(tiny.model)
