"""That the benchmarks run, compare like with like, and report what they measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from benchmarks import (
    alternatives,
    checkpoint,
    decode,
    exports,
    finetune,
    gpu,
    history,
    options,
    pack,
    report,
    serve,
    soak,
    speculative,
    startup,
    step,
    task,
    train,
    workers,
)
from benchmarks.__main__ import main
from benchmarks.child import call
from benchmarks.machine import bandwidth_probe, facts, product_probe
from benchmarks.memory import peak_rss_mb
from benchmarks.nanogpt import NanoGPT, Shape
from benchmarks.options import Options
from benchmarks.page import CAPTION, draw
from benchmarks.peers import PEERS, PRECISIONS, installed, llama_cpp, side
from benchmarks.report import Row
from benchmarks.timing import interleave, summarize
from benchmarks.worker import Worker

from gpt1.checkpoint import load_model, save_model
from gpt1.config import GPTConfig
from gpt1.flops import matrix_parameters
from gpt1.locate import locate
from gpt1.model import GPT
from gpt1.native.library import KERNELS, kernels
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


@pytest.fixture(scope="module")
def decoded(tiny: Options) -> report.Report:
    """A quick run in float32 of the sides every developer has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "PEERS", ("openai_gpt", "gpt2", "absent"))
        patch.setitem(sys.modules, "benchmarks.peers.absent", absent_side())
        return decode.run(replace(tiny, precisions=("float32",)))


def absent_side() -> ModuleType:
    """A side whose library nobody has."""
    module = ModuleType("absent")
    vars(module).update(TITLE="absent", NEEDS=("no_such_module",), PRECISIONS=("float32",))
    return module


def test_decode_has_a_figure_of_every_side_for_every_case(decoded: report.Report) -> None:
    assert [figure.measure for figure in decoded.figures] == [
        "decode, batch 1, prompt 8",
        "decode, batch 2, prompt 8",
        "decode, batch 1, prompt 16",
        "prefill, batch 1, prompt 16",
        "decode, batch 2, prompt 16",
        "prefill, batch 2, prompt 16",
        "cold start to first token",
        "peak memory",
    ]
    for figure in decoded.figures:
        assert list(figure.sides) == [
            "gpt1",
            "transformers openai-gpt",
            "transformers gpt2",
            "absent",
        ]
        samples = [sample for title, sample in figure.sides.items() if title != "absent"]
        assert all(len(sample) == 1 and float(sample[0]) > 0 for sample in samples)


def test_a_peer_that_is_not_installed_is_reported_as_such(decoded: report.Report) -> None:
    assert {figure.sides["absent"] for figure in decoded.figures} == {"not installed"}


def test_decode_generates_the_same_tokens_with_the_same_weights(decoded: report.Report) -> None:
    assert decoded.same == {"tokens of gpt1, transformers openai-gpt": True}


def test_decode_notices_a_side_that_generates_other_tokens() -> None:
    ids = {"ours": [[1, 2]], "openai_gpt": [[1, 3]], "gpt2": [[4, 5]], "llama_cpp": [[4, 5]]}
    assert decode.agreement(ids) == {
        "tokens of gpt1, transformers openai-gpt": False,
        "tokens of transformers gpt2, llama.cpp": True,
    }


def figure(measure: str, precision: str = "float32", **sides: Any) -> report.Figure:
    titles = {"ours": "gpt1", "llama": "llama.cpp", "ct2": "CTranslate2"}
    named = {titles[name]: values for name, values in sides.items()}
    return report.Figure(precision, measure, "unit", named, [10.0])


@pytest.mark.parametrize(
    ("found", "judged"),
    [
        (
            figure("decode, batch 1, prompt 32", ours=[9.5], llama=[9.0], ct2=[20.0]),
            [("llama.cpp", 1.0, True), ("bound", 90.0, True)],
        ),
        (
            figure("decode, batch 1, prompt 32", "int8", ours=[9.0], llama=[9.0]),
            [("llama.cpp", 1.3, False)],
        ),
        (
            figure("decode, batch 8, prompt 32", ours=[12.0], llama=[9.0], ct2=[11.0]),
            [("CTranslate2", 1.2, False)],
        ),
        (figure("decode, batch 8, prompt 32", ours=[12.0], llama="not installed"), []),
        (figure("decode, batch 1, prompt 32", "int4", llama=[9.0]), []),
        (figure("cold start to first token", ours=[0.7]), [("", 0.8, True)]),
        (figure("peak memory", ours=[700.0], llama=[600.0]), []),
    ],
)
def test_the_bars_of_decoding(found: report.Figure, judged: list[tuple[str, float, bool]]) -> None:
    rows = decode.bars(found)
    assert [(row.beside, row.bar, row.met) for row in rows] == judged


def test_the_bound_is_the_slower_of_reading_and_multiplying() -> None:
    model = GPTConfig(n_layer=1, n_head=1, n_embd=4, n_positions=8, vocab_size=10)
    weights, cached = 12 * 4 * 4 + 10 * 4, 2 * (2 + 4 / 2) * 2 * 4
    case, fast = decode.Case(batch=2, prompt_tokens=2), 1e30
    reading = decode.bound(model, 4, "float32", case, decode.Limits(100.0, fast))
    assert reading == pytest.approx(2 * 100 / (4 * (weights + cached)))
    multiplying = decode.bound(model, 4, "float32", case, decode.Limits(fast, 100.0))
    assert multiplying == pytest.approx(2 * 100 / (2 * (2 * weights + cached)))
    quantised = decode.bound(model, 4, "int4", case, decode.Limits(100.0, 1e-30))
    assert quantised == pytest.approx(2 * 100 / (weights / 2 + 2 * cached))


def test_the_prompts_of_decoding_are_the_same_as_text() -> None:
    tokenizer = checkpoint.words_tokenizer(500)
    assert len(tokenizer) == 500
    assert tokenizer.end_of_text_id is None
    prompts = checkpoint.prompts(tokenizer, 3, 20)
    assert tokenizer.encode_batch(tokenizer.decode(prompt) for prompt in prompts) == prompts
    assert len({tuple(prompt) for prompt in prompts}) == 3


ECHO = """
import sys
PRECISIONS = ("float32",)
def load(folder, precision, threads):
    print("loading")
    def generate(prompts, new_tokens):
        if new_tokens > 3:
            sys.exit("too many tokens")
        return [prompt[:new_tokens] for prompt in prompts]
    return generate
"""


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A process whose side repeats its prompts, at most three tokens."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types; module = types.ModuleType('echo')\n"
        f"exec({ECHO!r}, vars(module)); sys.modules['benchmarks.peers.echo'] = module\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with Worker("echo", "float32", tmp_path, 1) as worker:
        yield worker


def test_a_worker_answers_until_it_is_closed(echo: Worker) -> None:
    turns = [echo.turn([[1, 2, 3, 4], [5, 6, 7, 8]], new_tokens) for new_tokens in (1, 3)]
    assert [turn.ids for turn in turns] == [[[1], [5]], [[1, 2, 3], [5, 6, 7]]]
    assert all(turn.seconds > 0 and turn.peak_mb > 1 for turn in turns)


def test_a_worker_that_fails_says_why(echo: Worker) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)echo has failed.*too many tokens"):
        echo.turn([[1]], 4)


def test_a_gguf_file_has_the_names_of_llama_cpp() -> None:
    names = {
        "transformer.wte.weight": "token_embd.weight",
        "transformer.ln_f.bias": "output_norm.bias",
        "transformer.h.11.attn.c_attn.bias": "blk.11.attn_qkv.bias",
        "transformer.h.0.mlp.c_proj.weight": "blk.0.ffn_down.weight",
    }
    assert {name: llama_cpp.gguf_name(name) for name in names} == names


def test_llama_cpp_reads_prompts_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_cpp, "TOKENS_AT_ONCE", 3)
    assert llama_cpp.prompt_rows([[7, 8], [9, 5]]) == [
        [(7, 0, 0, False), (8, 1, 0, True), (9, 0, 1, False)],
        [(5, 1, 1, True)],
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_peer_that_is_installed_decodes(name: str, precision: str, tmp_path: Path) -> None:
    peer = side(name)
    if precision not in peer.PRECISIONS:
        pytest.skip(f"{peer.TITLE} has no {precision}")
    if not installed(name):
        pytest.skip(f"{peer.TITLE} is not installed")
    checkpoint.write(tmp_path / "checkpoint", decode.QUICK.model)
    (tmp_path / "side").mkdir()
    peer.prepare(tmp_path / "checkpoint", tmp_path / "side", precision)
    with Worker(name, precision, tmp_path / "side", 1) as worker:
        alone, together = worker.turn([[5, 6, 7]], 4), worker.turn([[5, 6, 7], [8, 9, 300]], 4)
    assert len(alone.ids[0]) == 4
    assert together.ids[0] == alone.ids[0]
    assert together.ids[1] != alone.ids[0]


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


def test_startup_shows_a_command_without_its_folder() -> None:
    assert startup.shown(["/some where/bin/python", "-m", "gpt1"]) == "python -m gpt1"


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


def test_speculative_compares_guesses_with_plain_decoding_and_its_tokens(tiny: Options) -> None:
    found = speculative.run(tiny)
    assert all(found.same.values())
    assert len(found.same) == 4
    assert [row.bar for row in found.rows if "look-up" in row.measure] == [1.8, 0.95, 1.8, 0.95]
    drafts = [row for row in found.rows if "draft" in row.measure]
    assert len(drafts) == (0 if kernels() is None else 2)  # none for the tiny one
    assert {row.beside for row in found.rows} == {"plain"}


def test_speculative_notices_other_tokens(tiny: Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speculative, "turn", lambda _, how: (1.0, [[len(how)]]))
    assert not any(speculative.run(tiny).same.values())


def test_exports_agree_where_the_weights_are_the_same(tiny: Options, tmp_path: Path) -> None:
    for package in ("onnx", "onnxruntime", "ctranslate2"):
        pytest.importorskip(package, reason="of the extra export")
    config = load_model(tiny.model).config
    assert isinstance(config, GPTConfig)
    one_head = GPT(config.replace(n_head=1))  # of 16, which can be quantized
    save_model(tmp_path / "model", one_head, Tokenizer.load(tiny.model))
    found = exports.run(replace(tiny, model=str(tmp_path / "model")))
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


def test_train_compares_every_peer_in_time_and_memory() -> None:
    found = train.run(Options(quick=True))
    peers = ["nanoGPT", "nanoGPT in parts", "transformers"]
    peers += ["litgpt"] if find_spec("litgpt") else []
    name = next(iter(train.QUICK))
    assert measures(found) == [
        *((name, peer) for peer in peers * 2),
        (f"operations, {name}", "a product of matrices"),
        (f"peak memory, {name}", ""),
        *((f"peak memory, {name}", peer) for peer in peers),
    ]


def test_train_compares_models_of_one_size() -> None:
    shape = {**train.TINY, "n_positions": 8}
    ours = GPT(GPTConfig(**shape))
    theirs = NanoGPT(Shape(**shape))
    last_norm = 2 * shape["n_embd"]
    assert sum(p.numel() for p in theirs.parameters()) == ours.num_parameters() + last_norm


@pytest.mark.slow
def test_serve_puts_load_on_every_server() -> None:
    found = serve.run(Options(quick=True))
    for figure in found.figures:
        for title in (serve.OURS, serve.PLAIN):
            sample = figure.sides[title]
            assert isinstance(sample, list)
            assert sample[0] > 0
    judged = [row.beside for row in found.rows]
    assert judged[0] == "1 client"
    assert judged[-1] == " steps"


def test_a_server_that_does_not_come_up_says_why() -> None:
    words = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with pytest.raises(RuntimeError, match="no such model"):
        serve.Server(lambda port: words).__enter__()


def test_soak_finds_nothing_wrong() -> None:
    values = {row.measure: row.ours[0] for row in soak.run(Options(quick=True)).rows}
    assert values["right answers"] > 0
    assert values["wrong texts"] == values["errors"] == 0
    assert values["slots still taken afterwards"] == 0


def test_soak_notices_a_wrong_text(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = soak.expected(str(locate("mini")))
    wrong = [case._replace(text=case.text + "!") for case in cases]
    monkeypatch.setattr(soak, "expected", lambda _: wrong)
    values = {row.measure: row.ours[0] for row in soak.run(Options(quick=True)).rows}
    assert values["wrong texts"] > 0
    assert values["right answers"] == 0


def test_all_benchmarks_run_in_processes_of_their_own(tiny: Options, tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    words = ["--rounds", "1", "--max-texts", "100", "--model", tiny.model, "--history", str(file)]
    words += ["--data", str(tiny.data), "--vocabulary", str(tiny.vocabulary)]
    command = [sys.executable, "-m", "benchmarks", "pack", "finetune", *words]
    assert "tokenise and pack" in subprocess.run(command, stdout=-1, text=True, check=True).stdout
    found = history.latest(file, ["pack", "finetune"])
    assert [name for name in found if " on " not in name] == ["pack", "finetune"]


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
    assert found["kernels"] in (None, *KERNELS)
    assert found["cores"] >= 1
    assert found["torch_threads"] == torch.get_num_threads()
    assert found["torch"] == torch.__version__


def test_bandwidth_is_within_what_memory_can_do() -> None:
    assert 1e8 < bandwidth_probe(2**22)() < 1e13


def test_products_of_matrices_are_within_what_processors_can_do() -> None:
    assert 1e7 < product_probe(64)() < 1e14


def row(how: report.How | None, bar: float | None = None, **changes: Any) -> Row:
    values: dict[str, Any] = {"ours": [4.0, 6.0, 5.0], "other": [2.0, 2.0, 1.0]}
    values |= {"measure": "m", "unit": "u", "beside": "peer", **changes}
    return Row(how=how, bar=bar, **values)


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


def test_a_run_of_a_part_leaves_the_other_rows(tmp_path: Path) -> None:
    def reported(kernels: str, *rows: tuple[str, int]) -> dict[str, Any]:
        named = [{"measure": name, "value": value} for name, value in rows]
        machine = {"cpu": "EPYC", "kernels": kernels, "cores": 2}
        return {"benchmark": "train", "machine": machine, "rows": named, "figures": []}

    file = tmp_path / "history.jsonl"
    for run in (
        reported("mine", ("small", 1), ("large", 2), ("large", 3)),
        reported("other", ("small", 4)),
        reported("mine", ("new", 5), ("large", 6)),
    ):
        history.append(run, file)
    found = history.latest(file, ["train", "pack"])
    rows = {
        name: [(row["measure"], row["value"]) for row in newest["rows"]]
        for name, newest in found.items()
    }
    mine = [("small", 1), ("large", 6), ("new", 5)]
    assert rows == {
        "train": mine,
        "train on 2 cores of EPYC, mine": mine,
        "train on 2 cores of EPYC, other": [("small", 4)],
    }
    assert history.latest(file, ["pack"]) == {}


def test_markdown_has_one_line_for_each_row() -> None:
    found = report.Report(name="b", title="t", rows=[row("times", 2.0), row(None, 4.5, other=())])
    assert report.markdown(found.as_dict()).splitlines() == [
        "| measure | unit | gpt1 | beside | figure | bar |",
        "| --- | --- | --- | --- | --- | --- |",
        "| m | u | 5 (4–6) | peer: 2 (1–2) | 3 (2–5) times | ≥ 2: met |",
        "| m | u | 5 (4–6) | peer |  | ≤ 4.5: missed |",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.1235"), (12.3456, "12.35"), (123456.7, "123,457"), (0.0, "0")]
)
def test_numbers_have_four_digits(value: float, text: str) -> None:
    assert report.number(value) == text


def test_figures_beside_many_peers_make_one_line_each() -> None:
    found = figure("decode, batch 1, prompt 32", ours=[9.0, 10.0, 11.0], llama=[10.0], ct2="")
    rows = [row("times", 1.0, measure=found.name, beside="llama.cpp")]
    made = report.Report(name="decode", title="t", rows=rows, figures=[found])
    assert report.markdown(made.as_dict()).splitlines() == [
        "| precision | measure | unit | gpt1 | llama.cpp | CTranslate2 | bound | bar |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| float32 | decode, batch 1, prompt 32 | unit | 10 ±10% | 10 |  | 10 "
        "| 3x llama.cpp ≥ 1: met |",
    ]


def test_two_processes_prepare_and_score_what_one_does(tiny: Options) -> None:
    found = workers.run(tiny)
    assert measures(found) == [("data preparation", "1 process"), ("perplexity", "1 process")]
    assert set(found.same.values()) == {True}


def test_alternatives_multiply_with_every_matrix() -> None:
    for figure in alternatives.run(Options(quick=True)).figures:
        ours = figure.sides["gpt1"]
        assert isinstance(ours, list)
        assert ours[0] > 0
        assert set(figure.sides) - {"gpt1"} == (
            {"PyTorch", "Numba"}
            if figure.precision == "float32"
            else {"Numba", "torchao", "torchao, compiled"}
        )
    config = GPTConfig(**alternatives.QUICK)
    assert sum(a * b for a, b in alternatives.sizes(config)) == matrix_parameters(config)


def test_a_row_without_values_was_not_run() -> None:
    made = report.Report(name="gpu", title="t", rows=[row("times", 1.0, ours=())])
    last = report.markdown(made.as_dict()).splitlines()[-1]
    assert last == "| m | u | not run | peer |  |  |"


def test_gpu_decodes_and_trains_in_bfloat16(tiny: Options) -> None:
    assert measures(gpu.run(tiny)) == [
        ("decode, batch 1", "transformers openai-gpt"),
        ("decode, batch 1", "transformers gpt2"),
        ("decode, batch 1", "bound"),
        ("decode, batch 1, int8", "bound"),
        ("decode, batch 2", "transformers gpt2"),
        ("decode, batch 2", "bound"),
        ("update of training", ""),
        ("operations of an update", "a product of matrices"),
        ("fine-tuning, 231,657 jokes, 5 epochs", ""),
    ]


def test_without_a_gpu_its_rows_were_not_run_and_leave_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["gpu", "--history", str(tmp_path / "history.jsonl")]) == 0
    assert capsys.readouterr().out.count("not run") == 9
    assert not list(tmp_path.iterdir())


def test_runs_are_remembered_and_the_newest_fills_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], decoded: report.Report
) -> None:
    file, page = tmp_path / "history.jsonl", tmp_path / "page.md"
    assert main(["pack", "--quick", "--history", str(file)]) == 0
    assert "quick: the figures say nothing" in capsys.readouterr().out
    history.append(decoded.as_dict() | {"title": "old"}, file)
    history.append(decoded.as_dict(), file)
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["benchmark"] for line in lines] == ["pack", "decode", "decode"]
    text = "before\n<!-- {0} -->\n{1}<!-- end of {0} -->\nafter\n"
    page.write_text(text.format("decode", "old\n"))
    assert main(["--markdown", str(page), "--history", str(file)]) == 0
    table = report.markdown(json.loads(lines[-1]))
    assert page.read_text() == text.format("decode", f"{table}\n![{CAPTION}](decode.png)\n")
    assert (tmp_path / "decode.png").read_bytes().startswith(b"\x89PNG")


def test_a_drawing_leaves_the_place_of_what_was_not_measured_empty(
    tmp_path: Path, decoded: report.Report
) -> None:
    found = decoded.as_dict()
    drawn = [figure for figure in found["figures"] if figure["measure"].startswith("decode")]
    other = [{**figure, "precision": "int4"} for figure in drawn[:1]]
    draw({**found, "figures": [*drawn, *other]}, tmp_path / "drawing.png")
    assert (tmp_path / "drawing.png").stat().st_size > 1000


def test_a_page_without_marks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("no table")
    assert main(["--markdown", str(page), "--history", str(tmp_path / "none")]) == 2
    assert "page.md has no marks such as <!-- decode --> and <!-- end of decode -->" in (
        capsys.readouterr().err
    )


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
