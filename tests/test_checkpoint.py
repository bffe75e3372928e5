"""Model folders: what transformers reads and writes, memory-mapped, refused when unfit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, OpenAIGPTConfig, OpenAIGPTLMHeadModel, OpenAIGPTModel

from gpt1.checkpoint import DTYPES, load_model, save_model
from gpt1.config import GPTConfig, LSTMConfig
from gpt1.errors import CheckpointError, ConfigError
from gpt1.locate import locate
from gpt1.lstm import LSTM
from gpt1.model import GPT
from gpt1.tokenizer import END_OF_TEXT, Tokenizer

CONFIG = GPTConfig(n_layer=2, n_head=2, n_embd=16, n_positions=12, vocab_size=80, afn="silu")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.train(["the cat sat on the mat, and the dog sat too"], merges=9)
    tokenizer.add_special_tokens([END_OF_TEXT])
    return tokenizer


@pytest.fixture
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(CONFIG).eval()


@pytest.fixture
def folder(tmp_path: Path, model: GPT, tokenizer: Tokenizer) -> Path:
    save_model(tmp_path / "model", model, tokenizer)
    return tmp_path / "model"


def assert_same_weights(first: GPT, second: GPT) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def rewrite(folder: Path, **changes: Tensor | None) -> None:
    """Change tensors of the weight file; None removes one, ``__`` stands for a dot."""
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in changes.items():
        tensors.pop(name.replace("__", "."), None)
        if tensor is not None:
            tensors[name.replace("__", ".")] = tensor
    save_file(tensors, folder / "model.safetensors")


def reconfigure(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= changes
    kept = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def test_a_saved_model_comes_back_equal_trainable_and_in_eval_mode(
    folder: Path, model: GPT
) -> None:
    loaded = load_model(folder)
    assert_same_weights(loaded, model)
    assert loaded.config == model.config
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_an_lstm_comes_back_as_one(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = LSTM(LSTMConfig(vocab_size=80, n_positions=12, n_embd=6, n_units=10, resid_pdrop=0.2))
    save_model(tmp_path / "lstm", model, tokenizer)
    loaded = load_model(tmp_path / "lstm")
    assert loaded.config == model.config
    torch.testing.assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    stored = json.loads((tmp_path / "lstm" / "config.json").read_text(encoding="utf-8"))
    assert stored["model_type"] == "gpt1-lstm"
    assert not {"architectures", "n_ctx"} & stored.keys()


def test_transformers_loads_a_saved_model_completely(folder: Path, model: GPT) -> None:
    theirs, info = OpenAIGPTLMHeadModel.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    ids = torch.arange(20).view(2, 10)
    torch.testing.assert_close(theirs(ids).logits, model(ids).logits)
    assert theirs.config.n_ctx == 12
    assert theirs.config.tie_word_embeddings


def test_transformers_loads_the_saved_tokenizer_and_defaults(
    folder: Path, tokenizer: Tokenizer
) -> None:
    theirs = AutoTokenizer.from_pretrained(folder)
    assert theirs("the mat, the dog")["input_ids"] == tokenizer.encode("the mat, the dog")
    stored = OpenAIGPTLMHeadModel.from_pretrained(folder)
    assert stored.generation_config.max_new_tokens == 50
    assert stored.generation_config.eos_token_id == tokenizer.end_of_text_id
    assert not stored.generation_config.do_sample


@pytest.mark.parametrize("kind", [OpenAIGPTLMHeadModel, OpenAIGPTModel])
def test_what_transformers_saves_loads_with_and_without_prefix(
    tmp_path: Path, kind: type[torch.nn.Module]
) -> None:
    theirs = kind(OpenAIGPTConfig(vocab_size=9, n_positions=8, n_embd=8, n_layer=1, n_head=2))
    theirs.eval().save_pretrained(tmp_path)
    ids = torch.tensor([[1, 2, 3]])
    expected = theirs(ids, output_hidden_states=True).hidden_states[-1]
    ours = load_model(tmp_path)(ids, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(ours, expected)


def test_a_checkpoint_split_by_transformers_loads(tmp_path: Path) -> None:
    theirs = OpenAIGPTLMHeadModel(
        OpenAIGPTConfig(vocab_size=90, n_positions=8, n_embd=16, n_layer=2, n_head=2)
    )
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    loaded = load_model(tmp_path).state_dict()
    for name, tensor in theirs.transformer.state_dict().items():
        assert torch.equal(loaded[name], tensor), name


def test_a_missing_part_of_a_split_checkpoint_is_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}')
    with pytest.raises(CheckpointError, match=r"model-2.safetensors is missing"):
        load_model(folder)
    index.write_text('{"weights": {}}')
    with pytest.raises(CheckpointError, match=r"index.json has no weight_map"):
        load_model(folder)


def test_constant_buffers_and_the_tied_output_layer_are_accepted(folder: Path, model: GPT) -> None:
    rewrite(
        folder,
        h__0__attn__bias=torch.ones(1, 1, 12, 12).tril(),
        position_ids=torch.arange(12),
        lm_head__weight=model.tokens_embed.weight.detach().clone(),
    )
    assert_same_weights(load_model(folder), model)


def test_an_untied_output_layer_is_refused(folder: Path) -> None:
    rewrite(folder, lm_head__weight=torch.zeros(80, 16))
    with pytest.raises(CheckpointError, match=r"lm_head.weight differs .* untied"):
        load_model(folder)


def test_all_tensors_that_do_not_fit_are_listed(folder: Path) -> None:
    rewrite(
        folder,
        h__0__ln_1__bias=None,
        h__1__mlp__c_fc__weight=torch.zeros(3, 4),
        other__weight=torch.zeros(2),
        h__1__ln_2__bias=torch.zeros(16, dtype=torch.int64),
    )
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    assert str(caught.value).splitlines() == [
        f"the weights in {folder} do not fit its configuration:",
        "  h.0.ln_1.bias: expected (16,), found none",
        "  h.1.mlp.c_fc.weight: expected (16, 64), found (3, 4)",
        "  other.weight: expected no such tensor, found (2,)",
        "  h.1.ln_2.bias: holds torch.int64, not floating-point numbers",
    ]


@pytest.mark.parametrize("content", [b"", b"no header", "half"])
def test_a_damaged_weight_file_is_named(folder: Path, content: bytes | str) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(content if isinstance(content, bytes) else whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"model.safetensors is missing, cut short or not a"):
        load_model(folder)


def test_a_pickle_is_never_opened_and_the_remedy_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"only pytorch_model.bin, .*save_pretrained\("):
        load_model(folder)


def test_missing_weights_are_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors; name the folder"):
        load_model(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json is not valid JSON"),
        ("[]", "config.json holds a list, not a JSON object"),
        ('{"model_type": "gpt2"}', "model_type is 'gpt2' but must be 'openai-gpt'"),
        ("{}", "model_type is None but must be 'openai-gpt'"),
        ('{"model_type": "gpt1-lstm", "n_units": 0}', "config.json: n_units is 0 but must be at"),
        ('{"model_type": "openai-gpt", "afn": "tanh"}', "afn is 'tanh' but must be one of gelu, "),
        ('{"model_type": "openai-gpt", "n_head": 5}', "config.json: n_head is 5 but must divide"),
        ('{"model_type": "openai-gpt", "n_layer": "2"}', "n_layer is '2' but must be a int"),
    ],
)
def test_a_configuration_that_cannot_be_used_says_why(
    folder: Path, text: str, message: str
) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


def test_a_folder_without_configuration_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*config.json \(No such file"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [("gelu", "gelu"), ("gelu_new", "gelu"), ("relu", "relu"), ("swish", "silu")],
)
def test_activation_names_of_transformers_are_understood(
    folder: Path, stored: str, expected: str
) -> None:
    reconfigure(folder, afn=stored)
    assert load_model(folder).config.afn == expected


def test_the_older_name_of_the_context_length_is_understood(folder: Path) -> None:
    reconfigure(folder, n_positions=None)
    assert load_model(folder).config.n_positions == 12


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_are_stored_and_loaded_in_their_own_dtype(
    tmp_path: Path, model: GPT, tokenizer: Tokenizer, dtype: str
) -> None:
    save_model(tmp_path, model.to(DTYPES[dtype]), tokenizer)
    assert load_model(tmp_path).dtype == DTYPES[dtype]
    assert OpenAIGPTLMHeadModel.from_pretrained(tmp_path).dtype == DTYPES[dtype]


def test_dtype_converts_on_loading(folder: Path, model: GPT) -> None:
    loaded = load_model(folder, dtype="bfloat16")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    expected = model.positions_embed.weight.bfloat16()
    assert torch.equal(loaded.positions_embed.weight, expected)
    assert load_model(folder, dtype=torch.float16).dtype == torch.float16


def test_mixed_dtypes_need_a_choice(folder: Path) -> None:
    rewrite(folder, h__0__ln_1__bias=torch.zeros(16, dtype=torch.float16))
    with pytest.raises(CheckpointError, match="mixes float16 and float32; pass dtype="):
        load_model(folder)
    assert load_model(folder, dtype="float32").h[0].ln_1.bias.dtype == torch.float32


def test_an_unknown_dtype_or_device_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="dtype is 'int8' but must be one of float32, "):
        load_model(folder, dtype="int8")
    with pytest.raises(ConfigError, match=r"device 'gpu' cannot be used here: .*use 'cpu'"):
        load_model(folder, device="gpu")


def test_loading_maps_the_file_instead_of_copying_it(tmp_path: Path, tokenizer: Tokenizer) -> None:
    if not Path("/proc/self/smaps_rollup").exists():
        pytest.skip("private memory is read from Linux's /proc")
    wide = GPT(GPTConfig(n_layer=1, n_head=1, n_embd=512, n_positions=8, vocab_size=20_000))
    save_model(tmp_path, wide, tokenizer)
    program = (
        "import re, sys, torch\n"
        "from gpt1.checkpoint import load_model\n"
        "def private():\n"
        "    status = open('/proc/self/status').read()\n"
        "    return 1024 * int(re.search(r'RssAnon:\\s+(\\d+)', status)[1])\n"
        "models, sizes = [], []\n"
        "for _ in range(2):  # the first one also loads parts of torch\n"
        "    models.append(load_model(sys.argv[1]))\n"
        "    total = sum(float(p.detach().sum()) for p in models[-1].parameters())\n"
        "    sizes.append(private())\n"
        "print(sizes[1] - sizes[0])\n"
    )
    output = subprocess.check_output([sys.executable, "-c", program, str(tmp_path)], text=True)
    assert int(output) < (tmp_path / "model.safetensors").stat().st_size / 4


def test_training_a_mapped_model_leaves_its_file_alone(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    loaded = load_model(folder)
    optimizer = torch.optim.AdamW(loaded.parameters(), lr=0.1)
    ids = torch.arange(10)[None]
    losses = []
    for _ in range(3):
        loss = loaded(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_mapped_model_can_be_saved_over_its_own_file(folder: Path, tokenizer: Tokenizer) -> None:
    loaded = load_model(folder)
    with torch.no_grad():
        loaded.tokens_embed.weight += 1
    save_model(folder, loaded, tokenizer)
    assert_same_weights(load_model(folder), loaded)


def test_equal_weights_give_equal_bytes(
    tmp_path: Path, folder: Path, model: GPT, tokenizer: Tokenizer
) -> None:
    save_model(tmp_path / "again", model, tokenizer)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_more_text_files_are_written_and_others_survive(
    folder: Path, model: GPT, tokenizer: Tokenizer
) -> None:
    (folder / "metrics.jsonl").write_text("{}\n")
    save_model(folder, model, tokenizer, files={"README.md": "# A café\n"})
    assert (folder / "README.md").read_text(encoding="utf-8") == "# A café\n"
    assert (folder / "metrics.jsonl").read_text() == "{}\n"


def test_a_full_disk_leaves_the_old_checkpoint_loadable(
    tmp_path: Path, folder: Path, model: GPT, tokenizer: Tokenizer
) -> None:
    resource = pytest.importorskip("resource", reason="file size limits are a POSIX feature")
    larger = GPT(CONFIG.replace(n_embd=64))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(CheckpointError, match=r"needs about 4[\d,]+ bytes and .* bytes are fr"):
            save_model(folder, larger, tokenizer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_same_weights(load_model(folder), model)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_of_other_things_is_not_written_to(
    tmp_path: Path, model: GPT, tokenizer: Tokenizer
) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="not one of ours"):
        save_model(tmp_path, model, tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    small = GPT(CONFIG.replace(vocab_size=5))
    with pytest.raises(CheckpointError, match=r"tokenizer has \d+ tokens but the model only 5"):
        save_model(tmp_path, small, tokenizer)


def test_a_folder_is_found_by_its_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locate(folder) == folder
    assert locate(str(folder)) == folder
    monkeypatch.setenv("HOME", str(folder.parent))
    assert locate("~/model") == folder


def test_a_revision_of_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"revision is 'main' but .* is a folder"):
        locate(folder, revision="main")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "no folder 'nowhere'; models bundled: mini; hub ids look like owner/name, for"),
        ("mimi", "did you mean mini"),
        ("runs/jokes", r"did you mean runs/joke\? \(runs is a folder here, so the hub was not ask"),
        ("runs/joke/config.json", "is a file; name the folder it is in"),
        ("a/b/c", "no folder 'a/b/c'"),
    ],
)
def test_an_unknown_model_says_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    (tmp_path / "runs" / "joke").mkdir(parents=True)
    (tmp_path / "runs" / "joke" / "config.json").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        locate(name)
