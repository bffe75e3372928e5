"""The tokenizer: ids, special tokens, decoding, training, files."""

from __future__ import annotations

import copy
import csv
import gzip
import itertools
import json
import lzma
import pickle
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, OpenAIGPTTokenizer

import gpt1.tokenizer
from gpt1.errors import ConfigError, TokenizerError
from gpt1.tokenizer import Tokenizer

TEXTS = [
    "The quick brown fox jumps over the lazy dog; the dog doesn't mind.",
    "She said: \u201cIt\u2019s the fox\u2014again\u2026\u201d and the dog said, 'I know.'",
    "Foxes, dogs and other animals: 1,234 of them (at 10:30) weren't there!",
] * 3
SPECIAL = ["_start_", "_delimiter_", "_classify_", "<|endoftext|>", "<pad>"]
HOSTILE = st.text(
    st.one_of(
        st.sampled_from(
            " \t\n\r\x00\x1c\x85\u00a0\u2028\u3000\u0301\u0307\ud800\udfff\ufffd\u200d"
        ),
        st.sampled_from("aAbez'\".-<|>_\u0130\u00e9\u00df\u05d0\u0661\u4e2d\ud55c\U0001f600\u2026"),
        st.characters(),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """A small trained tokenizer with all special tokens."""
    trained = Tokenizer.train(TEXTS, vocab_size=150)
    trained.add_special_tokens(SPECIAL)
    return trained


@pytest.fixture(scope="module")
def plain() -> Tokenizer:
    """The same without special tokens."""
    return Tokenizer.train(TEXTS, vocab_size=150)


@pytest.fixture(scope="session")
def openai(shared_data: Path) -> Tokenizer:
    return Tokenizer.load(shared_data / "openai-bpe", mode="bert")


@pytest.fixture(scope="session")
def hugging_face(shared_data: Path) -> OpenAIGPTTokenizer:
    folder = shared_data / "openai-bpe"
    lines = (folder / "vocab_40000.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
    vocabulary = json.loads((folder / "encoder_bpe_40000.json").read_text(encoding="utf-8"))
    return OpenAIGPTTokenizer(vocab=vocabulary, merges=[tuple(line.split(" ")) for line in lines])


@pytest.fixture(scope="session")
def jokes(shared_data: Path) -> list[str]:
    with gzip.open(shared_data / "jokes" / "train.csv.gz", "rt", encoding="utf-8") as file:
        return [row["Joke"] for row in csv.DictReader(file)]


# Ids


def test_openai_vocabulary_gives_the_published_ids(openai: Tokenizer) -> None:
    ids = openai.encode("Hello, my dog is cute and")
    assert ids == [3570, 240, 547, 2585, 544, 4957, 488]
    assert openai.pieces(ids) == [
        "hello</w>", ",</w>", "my</w>", "dog</w>", "is</w>", "cute</w>", "and</w>",
    ]  # fmt: skip


def test_jokes_get_the_ids_of_transformers(
    openai: Tokenizer, hugging_face: OpenAIGPTTokenizer, jokes: list[str], shared_data: Path
) -> None:
    with gzip.open(shared_data / "jokes" / "valid.csv.gz", "rt", encoding="utf-8") as file:
        every = jokes + [row["Joke"] for row in csv.DictReader(file)]
    assert openai.encode_batch(every) == hugging_face(every)["input_ids"]


def test_a_whole_book_gets_the_ids_of_transformers(
    openai: Tokenizer, hugging_face: OpenAIGPTTokenizer, shared_data: Path
) -> None:
    with lzma.open(shared_data / "books" / "books-00.jsonl.xz", "rt", encoding="utf-8") as file:
        book = json.loads(next(file))["text"]
    assert len(book) > gpt1.tokenizer.PIECE_CHARS
    assert openai.encode(book) == hugging_face(book, verbose=False)["input_ids"]


@given(st.lists(HOSTILE, max_size=4))
@settings(max_examples=50)
def test_any_text_encodes_to_valid_ids_alone_in_batches_and_in_streams(
    tokenizer: Tokenizer, texts: list[str]
) -> None:
    ids = [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(texts) == ids
    assert list(tokenizer.encode_stream(texts, batch_size=2)) == ids
    assert all(0 <= token_id < 150 for token_id in itertools.chain.from_iterable(ids))


@given(st.text(st.sampled_from("ab \n\t\r\x1c\x85\u00a0\u0301\u4e2d\u2026'-e\u0130"), max_size=60))
def test_cutting_a_long_text_at_whitespace_leaves_its_ids(tokenizer: Tokenizer, text: str) -> None:
    whole = tokenizer.encode(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpt1.tokenizer, "PIECE_CHARS", 3)
        assert tokenizer.encode_batch([text, "the dog", text])[::2] == [whole, whole]


def test_a_megabyte_without_a_space_is_one_piece_of_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the" * 100_000)
    assert tokenizer.decode(ids) == "the" * 100_000


def test_lone_surrogates_count_as_replacement_characters(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("dog\ud800 fox") == tokenizer.encode("dog\ufffd fox")


def test_blank_text_has_no_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode_batch(["", " \n\t"]) == [[], []]


def test_a_stream_reads_one_batch_at_a_time(tokenizer: Tokenizer) -> None:
    read: list[int] = []

    def endless() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            yield "the dog"

    stream = tokenizer.encode_stream(endless(), batch_size=5)
    first = list(itertools.islice(stream, 6))
    assert first == [tokenizer.encode("the dog")] * 6
    assert len(read) == 10


def test_a_batch_also_ends_at_a_number_of_characters(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpt1.tokenizer, "BATCH_CHARS", 10)
    texts = iter(["the dog"] * 9)
    next(tokenizer.encode_stream(texts))
    assert len(list(texts)) == 7


def test_a_batch_size_below_one_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="batch_size is 0 but must be at least 1"):
        tokenizer.encode_stream(["a"], batch_size=0)


@pytest.mark.parametrize("value", [None, 3.5, b"bytes"])
def test_a_text_that_is_no_string_is_named(tokenizer: Tokenizer, value: object) -> None:
    with pytest.raises(TokenizerError, match=f"a text is {value!r} but must be a string"):
        tokenizer.encode(value)  # type: ignore[arg-type]


def test_one_string_in_place_of_several_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="texts is one string, 'the dog'; pass a list"):
        tokenizer.encode_batch("the dog")


# Offsets


@given(st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=40))
def test_offsets_of_ascii_text_point_at_the_pieces(text: str) -> None:
    letters = Tokenizer.train(["".join(map(chr, range(33, 127)))], merges=0)
    encoding = letters.encode_with_offsets(text)
    spans = [text[start:end].lower() for start, end in encoding.offsets]
    assert spans == [piece.removesuffix("</w>") for piece in encoding.pieces]
    assert encoding.ids == letters.encode(text)
    assert encoding.pieces == letters.pieces(encoding.ids)


@given(HOSTILE)
def test_offsets_of_any_text_lie_inside_it_in_order(tokenizer: Tokenizer, text: str) -> None:
    encoding = tokenizer.encode_with_offsets(text)
    assert encoding.ids == tokenizer.encode(text)
    for start, end in encoding.offsets:
        assert 0 <= start <= end <= len(text)
    starts = [start for start, _ in encoding.offsets]
    assert starts == sorted(starts)


def test_offsets_count_characters_before_standardisation(tokenizer: Tokenizer) -> None:
    text = "\U0001f600\ud800\u2026 \u201cFox\u201d"
    encoding = tokenizer.encode_with_offsets(text)
    fox = [
        span
        for span, piece in zip(encoding.offsets, encoding.pieces, strict=True)
        if "fox" in piece
    ]
    assert [text[start:end] for start, end in fox] == ["Fox"]


# Special tokens


def test_special_tokens_follow_the_vocabulary_in_the_given_order(tokenizer: Tokenizer) -> None:
    assert tokenizer.special_tokens == {name: 150 + i for i, name in enumerate(SPECIAL)}
    assert tokenizer.vocab_size == len(tokenizer) == 155
    assert (tokenizer.end_of_text_id, tokenizer.pad_id) == (153, 154)
    assert tokenizer.token_id("_classify_") == 152


def test_adding_special_tokens_again_changes_nothing(tokenizer: Tokenizer) -> None:
    before = tokenizer.fingerprint
    assert tokenizer.add_special_tokens(SPECIAL[::-1]) == [154, 153, 152, 151, 150]
    assert tokenizer.fingerprint == before


def test_without_special_tokens_there_are_no_special_ids(plain: Tokenizer) -> None:
    assert (plain.special_tokens, plain.end_of_text_id, plain.pad_id) == ({}, None, None)


@pytest.mark.parametrize("name", [*SPECIAL, "<unk>"])
def test_special_tokens_typed_as_text_are_ordinary_characters(
    tokenizer: Tokenizer, plain: Tokenizer, name: str
) -> None:
    text = f"the dog {name} a{name}b the fox"
    assert tokenizer.encode(text) == plain.encode(text)
    assert tokenizer.encode_batch([text]) == [plain.encode(text)]
    assert tokenizer.encode_with_offsets(text).ids == plain.encode(text)


def test_special_tokens_in_trusted_text_become_their_ids(tokenizer: Tokenizer) -> None:
    text = "_start_ the dog<|endoftext|>"
    ids = [150, *tokenizer.encode("the dog"), 153]
    assert tokenizer.encode(text, allow_special=True) == ids
    assert tokenizer.encode_batch([text], allow_special=True) == [ids]


def test_threads_do_not_mix_trusted_and_typed_text(tokenizer: Tokenizer) -> None:
    text = "<pad> the dog <pad>"
    expected = {flag: tokenizer.encode(text, allow_special=flag) for flag in (False, True)}
    assert expected[False] != expected[True]
    flags = [False, True] * 200
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda flag: tokenizer.encode(text, allow_special=flag), flags))
    assert found == [expected[flag] for flag in flags]


def test_an_unknown_token_name_brings_up_the_nearest(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"no token '_strat_' .* nearest: _start_"):
        tokenizer.token_id("_strat_")


def test_a_token_name_like_no_other_brings_up_the_special_tokens(tokenizer: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="nearest: _start_, _delimiter_"):
        tokenizer.token_id("@@@@@@@@@@@@@@@@@@@@")


@pytest.mark.parametrize("name", ["", "two words", "line\n"])
def test_special_tokens_need_a_name_without_whitespace(plain: Tokenizer, name: str) -> None:
    with pytest.raises(TokenizerError, match="is empty or holds whitespace"):
        plain.add_special_tokens(["_fine_", name])
    assert plain.special_tokens == {}


def test_special_tokens_come_as_a_list(plain: Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="names is one string, '_start_'; pass a list"):
        plain.add_special_tokens("_start_")


# Decoding


def test_raw_decoding_equals_transformers(
    openai: Tokenizer, hugging_face: OpenAIGPTTokenizer
) -> None:
    chosen = random.Random(0)
    for length in range(40):
        ids = [chosen.randrange(openai.vocab_size) for _ in range(length)]
        assert openai.decode(ids, raw=True) == hugging_face.decode(ids)


def test_raw_decoding_keeps_words_apart(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("The dog, it's there!")
    assert tokenizer.decode(ids, raw=True) == "the dog , it ' s there !"


@pytest.mark.parametrize("raw", [False, True])
def test_special_tokens_are_skipped_unless_asked_for(tokenizer: Tokenizer, raw: bool) -> None:
    ids = [150, *tokenizer.encode("the dog"), 153]
    assert tokenizer.decode(ids, raw=raw).strip() == "the dog"
    assert "<|endoftext|>" in tokenizer.decode(ids, raw=raw, skip_special=False)


def test_special_and_unknown_tokens_are_words_to_a_reader(tokenizer: Tokenizer) -> None:
    ids = [150, *tokenizer.encode("dog \u4e2d fox"), 153, 153]
    text = tokenizer.decode(ids, skip_special=False)
    assert text == "_start_ dog <unk> fox <|endoftext|> <|endoftext|>"


@given(st.lists(st.integers(0, 154), max_size=30))
def test_streamed_text_joins_to_the_decoded_text(tokenizer: Tokenizer, ids: list[int]) -> None:
    stream = tokenizer.detokenizer()
    assert "".join([*map(stream.push, ids), stream.flush()]) == tokenizer.decode(ids)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("token_id", [-1, 155])
def test_decoding_an_id_outside_the_vocabulary_names_it(
    tokenizer: Tokenizer, token_id: int, raw: bool
) -> None:
    with pytest.raises(TokenizerError, match=f"token id {token_id} is outside .*: 0 to 154"):
        tokenizer.decode([3, token_id], raw=raw)
    with pytest.raises(TokenizerError, match=f"token id {token_id} is outside"):
        tokenizer.pieces([token_id])


@pytest.mark.parametrize("raw", [False, True])
def test_tensors_and_arrays_of_ids_decode(tokenizer: Tokenizer, raw: bool) -> None:
    torch = pytest.importorskip("torch")
    ids = tokenizer.encode("the dog")
    tensor = torch.tensor(ids)
    assert tokenizer.decode(tensor, raw=raw) == tokenizer.decode(ids, raw=raw)
    assert tokenizer.decode(tensor.numpy(), raw=raw) == tokenizer.decode(ids, raw=raw)


def test_most_jokes_survive_encoding_and_decoding(openai: Tokenizer, jokes: list[str]) -> None:
    quotes = str.maketrans("\u201c\u201d\u2018\u2019\u00b4", "\"\"'''")
    texts = [" ".join(joke.translate(quotes).lower().split()) for joke in jokes[-2000:]]
    decoded = map(openai.decode, openai.encode_batch(texts))
    same = sum(text == again for text, again in zip(texts, decoded, strict=True))
    assert same / len(texts) > 0.85


# Training


def test_training_starts_with_unk_and_both_forms_of_each_character() -> None:
    trained = Tokenizer.train(["Cab! b"], merges=1, min_frequency=1)
    assert trained.pieces(range(9)) == [
        "<unk>", "!", "a", "b", "c", "!</w>", "a</w>", "b</w>", "c</w>",
    ]  # fmt: skip


@given(st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz,.'-"), min_size=1))
def test_words_of_known_characters_never_hold_unk(plain: Tokenizer, text: str) -> None:
    assert plain.token_id("<unk>") == 0
    assert 0 not in plain.encode(text)


def test_training_is_the_same_in_every_process(tmp_path: Path) -> None:
    program = (
        "import sys; from gpt1.tokenizer import Tokenizer;"
        "words = [f'{a}{b}{c} {c}{a}' for a in 'abcdefg' for b in 'hijklm' for c in 'nopqrst'];"
        "Tokenizer.train(words, vocab_size=400).save(sys.argv[1])"
    )
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        subprocess.run([sys.executable, "-c", program, str(folder)], check=True)
    contents = [{f.name: f.read_bytes() for f in sorted(folder.iterdir())} for folder in folders]
    assert contents[0] == contents[1] == contents[2]


def test_merges_may_be_given_in_place_of_the_vocabulary_size() -> None:
    base = Tokenizer.train(TEXTS, merges=0)
    assert len(Tokenizer.train(TEXTS, merges=7)) == len(base) + 7


def test_training_merges_the_commonest_pairs_first() -> None:
    trained = Tokenizer.train(["cab cab cab tab"], merges=2)
    assert trained.pieces(range(9, 11)) == ["ab</w>", "cab</w>"]


def test_pairs_below_the_least_frequency_are_not_merged() -> None:
    texts = ["dog dog dog fox fox"]
    trained = Tokenizer.train(texts, merges=100, min_frequency=3)
    assert trained.pieces(trained.encode("dog fox")) == ["dog</w>", "f", "o", "x</w>"]


def test_characters_beyond_the_alphabet_size_become_unk() -> None:
    trained = Tokenizer.train(["aaa bb aab c"], merges=0, alphabet_size=2)
    assert trained.pieces(trained.encode("a b c")) == ["a</w>", "b</w>", "<unk>"]


def test_very_long_words_teach_no_merges_but_still_encode() -> None:
    word = "ab" * 5000
    trained = Tokenizer.train([word, "cd cd"], merges=10)
    assert trained.pieces(trained.encode("cd")) == ["cd</w>"]
    assert len(trained.encode(word)) == len(word)


def test_standardisation_maps_typographic_characters_to_keyboard_ones(plain: Tokenizer) -> None:
    fancy = "\u201cfox\u201d \u2018dog\u2019 it\u00b4s a\u2013b\u2014c\u2015d wait\u2026"
    assert plain.encode(fancy) == plain.encode("\"fox\" 'dog' it's a-b-c-d wait...")


def test_without_standardisation_typographic_characters_stay() -> None:
    trained = Tokenizer.train(["it\u2019s"], merges=0, standardize=False)
    assert trained.pieces(trained.encode("\u2019'")) == ["\u2019</w>", "<unk>"]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({}, r"give vocab_size \(None\) or merges \(None\), just one"),
        ({"vocab_size": 9, "merges": 9}, r"give vocab_size \(9\) or merges \(9\), just one"),
        ({"merges": -1}, "merges is -1 but must be at least 0"),
        ({"merges": 1, "min_frequency": 0}, "min_frequency is 0 but must be at least 1"),
        ({"merges": 1, "alphabet_size": 0}, "alphabet_size is 0 but must be at least 1"),
        ({"vocab_size": 4, "alphabet_size": 2}, "this alphabet_size is 4 but must be at least 5"),
    ],
)
def test_training_refuses_impossible_sizes(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Tokenizer.train(["a b c"], **sizes)  # type: ignore[arg-type]


def test_training_on_blank_texts_is_refused() -> None:
    with pytest.raises(TokenizerError, match="the training texts hold no word"):
        Tokenizer.train([" ", "\n"], merges=5)


def test_an_error_in_the_source_of_training_texts_reaches_the_caller() -> None:
    def broken() -> Iterator[str]:
        yield "fine"
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        Tokenizer.train(broken(), merges=5)


# Files


def test_a_saved_tokenizer_loads_the_same(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    for path in (tmp_path, tmp_path / "tokenizer.json", str(tmp_path)):
        loaded = Tokenizer.load(path)
        assert loaded.fingerprint == tokenizer.fingerprint
        assert loaded.special_tokens == tokenizer.special_tokens
        assert loaded.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)
        assert repr(loaded) == repr(tokenizer)
        assert "mode='bert', vocab_size=155" in repr(loaded)


@pytest.mark.parametrize("config", [None, {"model_type": "openai-gpt"}])
def test_a_saved_tokenizer_gives_the_same_ids_in_transformers(
    tokenizer: Tokenizer, tmp_path: Path, config: dict[str, str] | None
) -> None:
    tokenizer.save(tmp_path)
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    texts = [*TEXTS, "_start_ the dog <pad> <|endoftext|>"]
    assert theirs(texts)["input_ids"] == tokenizer.encode_batch(texts, allow_special=True)
    assert (theirs.eos_token_id, theirs.pad_token_id, theirs.unk_token_id) == (153, 154, 0)
    assert len(theirs) == len(tokenizer)


def test_the_saved_config_names_mode_and_roles(plain: Tokenizer, tmp_path: Path) -> None:
    plain.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["mode"] == "bert"
    roles = json.loads((tmp_path / "special_tokens_map.json").read_text(encoding="utf-8"))
    assert roles == {"unk_token": "<unk>", "additional_special_tokens": []}


def test_vocabulary_and_merges_load_from_the_folder_or_either_file(tmp_path: Path) -> None:
    trained = Tokenizer.train(TEXTS, vocab_size=150, standardize=False)
    trained.save(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    for path in (tmp_path, tmp_path / "vocab.json", tmp_path / "merges.txt"):
        assert Tokenizer.load(path).fingerprint == trained.fingerprint


def test_openai_files_survive_saving(openai: Tokenizer, tmp_path: Path) -> None:
    openai.save(tmp_path)
    assert Tokenizer.load(tmp_path).fingerprint == openai.fingerprint
    assert Tokenizer.load(tmp_path).mode == "bert"


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_behave_the_same(tokenizer: Tokenizer, duplicate: object) -> None:
    again = duplicate(tokenizer)  # type: ignore[operator]
    text = "<pad> the dog"
    assert again.fingerprint == tokenizer.fingerprint
    assert again.encode(text) == tokenizer.encode(text)
    assert again.encode(text, allow_special=True) == tokenizer.encode(text, allow_special=True)


def test_the_fingerprint_tells_tokenizers_apart(tokenizer: Tokenizer, plain: Tokenizer) -> None:
    unlike = Tokenizer.train(TEXTS, vocab_size=150, standardize=False)
    prints = {t.fingerprint for t in (tokenizer, plain, unlike, Tokenizer.train(TEXTS, merges=9))}
    assert len(prints) == 4
    assert all(len(fingerprint) == 64 for fingerprint in prints)


def test_truncation_and_padding_in_a_file_are_not_applied(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    theirs(["the dog", "a"], truncation=True, max_length=2, padding="max_length")
    theirs.save_pretrained(tmp_path)
    spec = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert spec["truncation"]
    assert spec["padding"]
    assert Tokenizer.load(tmp_path).encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)


def test_an_unknown_mode_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    with pytest.raises(ConfigError, match="mode is 'byte' but must be one of original, bert"):
        Tokenizer.load(tmp_path, mode="byte")


def test_a_folder_without_a_tokenizer_says_what_was_looked_for(tmp_path: Path) -> None:
    expected = "looked for tokenizer.json or vocab.json with merges.txt or encoder_bpe_40000.json"
    with pytest.raises(TokenizerError, match=expected):
        Tokenizer.load(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"cannot read .*nowhere\.json as UTF-8 text"):
        Tokenizer.load(tmp_path / "nowhere.json")


def test_a_missing_partner_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text('{"<unk>": 0}', encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"cannot read .*merges\.txt"):
        Tokenizer.load(tmp_path / "vocab.json")


def bpe(**changes: object) -> str:
    """The text of a `tokenizer.json` whose model has the given changes."""
    model = {
        "type": "BPE",
        "end_of_word_suffix": "</w>",
        "unk_token": "<unk>",
        "vocab": {"<unk>": 0, "a": 1, "a</w>": 2},
        "merges": [],
    }
    return json.dumps({"version": "1.0", "added_tokens": [], "model": model | changes})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps([0.5, 1]), "cannot read .* as UTF-8 text"),
        (b"{not json", "not valid JSON"),
        (b"[1, 2]", "the JSON must be an object but is a list"),
        (b'{"model": null}', "not a GPT-1 tokenizer"),
        (b'{"model": [1]}', "not a GPT-1 tokenizer"),
        (bpe(type="WordPiece"), "not a GPT-1 tokenizer: .* has {'type': 'WordPiece'"),
        (bpe(end_of_word_suffix=None), "not a GPT-1 tokenizer"),
        (bpe(merges=[["a", "b"]]), "the tokenizers library refuses it"),
        (bpe(vocab={"a": 0}), "the vocabulary lacks <unk>"),
        (bpe(vocab={"<unk>": 0, "a": 2}), "the 2 ids must be 0 to 1, each once"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_named_with_the_reason(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TokenizerError, match=rf"tokenizer\.json(.|\n)*{message}"):
        Tokenizer.load(file)


@pytest.mark.parametrize(
    ("vocabulary", "merges"),
    [
        ('{"<unk>": 0, "a": 1}', "#version: 0.2\na b\n"),
        ('{"<unk>": 0, "a": 1}', "a b c\n"),
        ('{"<unk>": 0, "a": "one"}', ""),
    ],
)
def test_merges_that_do_not_fit_the_vocabulary_are_refused(
    tmp_path: Path, vocabulary: str, merges: str
) -> None:
    (tmp_path / "vocab.json").write_text(vocabulary, encoding="utf-8")
    (tmp_path / "merges.txt").write_text(merges, encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"vocab\.json with .*do not fit together"):
        Tokenizer.load(tmp_path)
