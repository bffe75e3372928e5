"""The public object: generate, stream, complete, score, perplexity, explain, save, load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt1 import language_model
from gpt1.errors import CheckpointError, ConfigError, DataError
from gpt1.evaluation.scoring import Document, Score, score_ids
from gpt1.language_model import LanguageModel, load
from lively import lively_model, small_tokenizer

TOKENIZER = small_tokenizer()
LM = LanguageModel(lively_model(TOKENIZER.vocab_size + 3), TOKENIZER)
SAMPLED: dict[str, Any] = {"temperature": 1.0, "seed": 0}


@pytest.fixture(scope="module")
def without_end() -> LanguageModel:
    tokenizer = small_tokenizer(end_of_text=False)
    return LanguageModel(lively_model(tokenizer.vocab_size), tokenizer)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "saved"
    LM.save(folder)
    return folder


def test_a_string_gives_its_text_and_continuation() -> None:
    text = LM.generate("The QUICK, brown fox", max_new_tokens=12)
    assert text.startswith("the quick, brown fox")
    assert len(text) > len("the quick, brown fox")


def test_the_default_is_greedy() -> None:
    assert LM.generate("the fox") == LM.generate("the fox", temperature=0.0, max_new_tokens=50)


def test_a_list_gives_a_list_in_its_order() -> None:
    prompts = ["the lazy dog's nose, he said", "fox", "the quick brown"]
    assert LM.generate(prompts) == [LM.generate(prompt) for prompt in prompts]
    assert LM.generate(tuple(prompts[:1])) == [LM.generate(prompts[0])]
    assert LM.generate([]) == []


def test_several_continuations_are_a_list_for_each_prompt() -> None:
    one = LM.generate("the fox", n=3, **SAMPLED)
    assert len(set(one)) == 3
    assert LM.generate(["dog", "the fox"], n=3, **SAMPLED)[1] == one


def test_the_same_seed_gives_the_same_text_alone_and_among_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prompts = [f"the fox jumps {'over ' * length}" for length in range(6)] * 2
    alone = [LM.generate(prompt, n=2, max_new_tokens=8, **SAMPLED) for prompt in prompts]
    for at_once in (1, 5, 32):
        monkeypatch.setattr(language_model, "SEQUENCES_AT_ONCE", at_once)
        assert LM.generate(prompts, n=2, max_new_tokens=8, **SAMPLED) == alone


def test_different_seeds_give_different_texts() -> None:
    texts = {LM.generate("the fox", temperature=1.0, seed=seed) for seed in range(4)}
    assert len(texts) == 4


def test_without_a_seed_equal_prompts_get_different_texts() -> None:
    first, second = LM.generate(["the fox", "the fox"], temperature=1.0)
    assert first != second


def test_the_prompt_can_be_left_out() -> None:
    whole = LM.generate("the fox:", **SAMPLED)
    assert "the fox:" + LM.generate("the fox:", include_prompt=False, **SAMPLED) == whole


prompts = st.sampled_from(["the fox", "isn '", 'he said "', "the dog :", "12 :", ""])
stops = st.lists(st.text("theox '", min_size=1, max_size=3) | st.just("jumps"), max_size=3)


bad_words = st.lists(st.sampled_from(["the", "fox", "it isn't", "o", "'", "12 : 30"]), max_size=3)
ways: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"temperature": st.floats(0.5, 3.0), "seed": st.integers(0, 99)}),
    st.fixed_dictionaries({"min_p": st.floats(0.0, 0.1), "seed": st.integers(0, 99)}),
    st.fixed_dictionaries({"repetition_penalty": st.floats(1.0, 2.0)}),
    st.fixed_dictionaries({"num_beams": st.integers(2, 4), "length_penalty": st.floats(-1, 2)}),
    st.fixed_dictionaries({"penalty_alpha": st.floats(0.1, 0.9), "top_k": st.integers(1, 5)}),
)


@settings(deadline=None, max_examples=100)
@given(prompts, stops, bad_words, ways, st.booleans(), st.integers(1, 30))
def test_the_stream_joined_is_what_generate_returns(
    prompt: str,
    stop: list[str],
    bad: list[str],
    way: dict[str, Any],
    include_prompt: bool,
    max_new_tokens: int,
) -> None:
    options = {
        "stop": stop,
        "bad_words": bad,
        "include_prompt": include_prompt,
        "max_new_tokens": max_new_tokens,
        **way,
    }
    pieces = list(LM.stream(prompt, **options))
    text = LM.generate(prompt, **options)
    assert "".join(pieces) == text
    assert all(pieces)
    assert not include_prompt or text.startswith(prompt.replace(" :", "").replace(" '", ""))


@settings(deadline=None, max_examples=60)
@given(prompts, stops, ways, st.integers(1, 30))
def test_a_text_is_cut_exactly_before_the_first_stop_string_of_the_whole(
    prompt: str, stop: list[str], way: dict[str, Any], max_new_tokens: int
) -> None:
    options = {"include_prompt": False, "max_new_tokens": max_new_tokens, **way}
    whole = LM.generate(prompt, **options)
    ends = [(start + len(s), start) for s in stop if (start := whole.find(s)) >= 0]
    cut = min(ends)[1] if ends else len(whole)
    assert LM.generate(prompt, stop=stop, **options) == whole[:cut]


def test_the_stream_begins_before_anything_is_generated() -> None:
    stream = LM.stream("the fox", max_new_tokens=10**9)
    assert next(stream) == "the fox"
    assert next(stream)


def test_stop_strings_end_the_continuation_and_not_the_prompt() -> None:
    free = LM.generate("the fox", max_new_tokens=40, include_prompt=False, **SAMPLED)
    stop = free[20:23]
    text = LM.generate(f"{stop} the fox", max_new_tokens=40, stop="o", **SAMPLED)
    assert text.startswith(f"{stop.strip()} the fox")
    stopped = LM.generate(
        "the fox", stop=[stop, "no such text"], max_new_tokens=40, include_prompt=False, **SAMPLED
    )
    assert stopped == free[: free.index(stop)]


def test_the_end_of_text_token_ends_the_text_and_is_not_in_it() -> None:
    lm = LanguageModel(lively_model(TOKENIZER.vocab_size), TOKENIZER)
    everything_but_the_end = set(range(TOKENIZER.vocab_size)) - {TOKENIZER.end_of_text_id}
    with torch.no_grad():
        lm.model.tokens_embed.weight[list(everything_but_the_end)] = 0
        state = lm.model(torch.tensor([[0]]), output_hidden_states=True).hidden_states[-1][0, 0]
        lm.model.tokens_embed.weight[TOKENIZER.end_of_text_id] = state
    ((completion,),) = lm.complete(["the fox"])
    assert (completion.text, completion.ids, completion.finish_reason) == ("", [], "stop")


def test_special_tokens_and_ids_without_a_name_are_never_generated() -> None:
    ((completion,),) = LM.complete(["the fox"], temperature=50.0, seed=1, max_new_tokens=2000)
    kept = set(completion.ids)
    assert len(kept) > 40
    assert kept.isdisjoint(TOKENIZER.special_tokens.values())
    assert max(kept) < TOKENIZER.vocab_size


def test_complete_tells_ids_and_why_each_text_ended() -> None:
    (group,) = LM.complete(["the fox"], n=2, max_new_tokens=7, stop="o", **SAMPLED)
    for completion in group:
        assert completion.prompt_ids == TOKENIZER.encode("the fox")
        assert completion.prompt == "the fox"
        assert completion.finish_reason == ("length" if len(completion.ids) == 7 else "stop")
    assert [c.prompt + c.text for c in group] == LM.generate(
        "the fox", n=2, max_new_tokens=7, stop="o", **SAMPLED
    )


def test_an_empty_prompt_begins_after_the_end_of_text_token() -> None:
    ((completion,),) = LM.complete([""], **SAMPLED)
    assert completion.prompt_ids == [TOKENIZER.end_of_text_id]
    assert LM.generate("", **SAMPLED) == completion.text


@pytest.mark.parametrize("blank", ["", " \n"])
def test_an_empty_prompt_without_an_end_of_text_token_is_refused(
    without_end: LanguageModel, blank: str
) -> None:
    with pytest.raises(DataError, match=r"has no tokens.*no end-of-text token.*one word"):
        without_end.generate(blank)
    with pytest.raises(DataError, match="has no tokens"):
        without_end.stream(blank)


def test_a_model_without_an_end_of_text_token_generates(without_end: LanguageModel) -> None:
    ((completion,),) = without_end.complete(["the fox"], max_new_tokens=9)
    assert (len(completion.ids), completion.finish_reason) == (9, "length")


def test_a_wrong_setting_is_refused_before_the_stream_is_read() -> None:
    wrong: Any = {"top_q": 3}
    with pytest.raises(ConfigError, match="no setting 'top_q'; did you mean top_"):
        LM.stream("the fox", **wrong)


def test_a_stream_of_several_continuations_is_refused() -> None:
    several: Any = {"n": 2, "temperature": 1.0}
    with pytest.raises(ConfigError, match="n is 2 but a stream is one text"):
        LM.stream("the fox", **several)


@settings(deadline=None, max_examples=60)
@given(prompts, bad_words.filter(bool), ways, st.integers(1, 40))
def test_bad_words_are_never_in_a_continuation(
    prompt: str, bad: list[str], way: dict[str, Any], max_new_tokens: int
) -> None:
    group = LM.complete(prompt, bad_words=bad, max_new_tokens=max_new_tokens, **way)[0]
    for completion in group:
        words = f" {TOKENIZER.decode(completion.ids, raw=True)} "
        for text in bad:
            assert f" {TOKENIZER.decode(TOKENIZER.encode(text), raw=True)} " not in words


def test_a_bad_word_is_not_spelled_in_other_tokens_either() -> None:
    options: dict[str, Any] = {"temperature": 1.0, "max_new_tokens": 8, "n": 30, "seed": 2}
    free = LM.complete("the fox", **options)[0]
    word = next(
        word
        for completion in free
        for word in TOKENIZER.decode(completion.ids, raw=True).split()[:-1]
        if len(word) > 2 and not set(TOKENIZER.encode(word)) <= set(completion.ids)
    )
    for completion in LM.complete("the fox", bad_words=word, **options)[0]:
        assert word not in TOKENIZER.decode(completion.ids, raw=True).split()


def test_a_bad_phrase_may_not_begin_in_the_prompt_either() -> None:
    raw = LM.generate("the fox", max_new_tokens=1, include_prompt=False)
    assert raw != LM.generate(
        "the fox", max_new_tokens=1, include_prompt=False, bad_words=f"fox {raw}"
    )


def test_a_bad_word_without_tokens_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"bad_words holds '.x00', which has no tokens"):
        LM.generate("the fox", bad_words=["fox", "\0"])


def test_min_new_tokens_puts_off_the_end_of_the_text() -> None:
    bias = {TOKENIZER.token_id("<|endoftext|>"): 100.0}
    ((short,),) = LM.complete("the fox", logit_bias=bias)
    ((longer,),) = LM.complete("the fox", logit_bias=bias, min_new_tokens=6)
    assert (len(short.ids), len(longer.ids)) == (0, 6)
    assert longer.finish_reason == "stop"


@pytest.mark.parametrize(
    "way",
    [
        {},
        {"temperature": 1.5, "seed": 1, "repetition_penalty": 1.5, "logit_bias": {9: 3.0}},
        {"num_beams": 3},
        {"penalty_alpha": 0.5, "top_k": 4},
    ],
    ids=str,
)
def test_logprobs_are_the_numbers_of_score(way: dict[str, Any]) -> None:
    ((completion,),) = LM.complete("the fox", max_new_tokens=9, logprobs=3, stop="zzz", **way)
    tokens = completion.logprobs
    assert tokens is not None
    assert [token.id for token in tokens] == completion.ids
    (score,) = score_ids(LM.model, [completion.prompt_ids + completion.ids])
    expected = score.log_probs[len(completion.prompt_ids) :]
    assert [token.log_prob for token in tokens] == pytest.approx(expected, abs=1e-5)
    for token in tokens:
        assert token.piece == TOKENIZER.pieces([token.id])[0]
        values = [candidate.log_prob for candidate in token.top]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert token.id not in {c.id for c in token.top} or token.log_prob in values


def test_without_logprobs_a_completion_has_none() -> None:
    assert LM.complete("the fox", max_new_tokens=2)[0][0].logprobs is None


def test_logprobs_of_0_tell_the_chosen_token_alone() -> None:
    tokens = LM.complete("the fox", max_new_tokens=2, logprobs=0)[0][0].logprobs
    assert tokens is not None
    assert [token.top for token in tokens] == [[], []]


def test_logprobs_of_a_text_that_ends_at_once_are_an_empty_list() -> None:
    end = TOKENIZER.token_id("<|endoftext|>")
    completion = LM.complete("the fox", logit_bias={end: 100.0}, logprobs=2)[0][0]
    assert (completion.ids, completion.logprobs) == ([], [])


def test_an_id_without_a_name_has_an_empty_piece() -> None:
    everything = LM.model.config.vocab_size
    tokens = LM.complete("the fox", max_new_tokens=1, logprobs=everything)[0][0].logprobs
    assert tokens is not None
    unnamed = {candidate.id for candidate in tokens[0].top if not candidate.piece}
    assert unnamed == set(range(TOKENIZER.vocab_size, everything))


def test_beam_search_gives_the_n_best_the_best_first() -> None:
    options: dict[str, Any] = {"num_beams": 4, "max_new_tokens": 8}
    (group,) = LM.complete("the fox", n=3, logprobs=0, **options)
    sums = [sum(token.log_prob for token in c.logprobs or []) for c in group]
    assert len({c.text for c in group}) == 3
    assert sums == sorted(sums, reverse=True)
    assert LM.generate("the fox", **options) == group[0].prompt + group[0].text
    assert LM.generate(["dog", "the fox"], n=3, **options)[1] == [c.prompt + c.text for c in group]


def test_beam_search_streams_the_continuation_in_one_piece() -> None:
    pieces = list(LM.stream("the fox", num_beams=3, max_new_tokens=9))
    assert pieces[0] == "the fox"
    assert len(pieces) == 2


def test_more_beams_than_the_settings_allow_texts_give_fewer() -> None:
    only = [TOKENIZER.encode("fox")[0], TOKENIZER.encode("dog")[0]]
    others = [[i] for i in range(TOKENIZER.vocab_size) if i not in only]
    bad = [ids for ids in others if ids != [TOKENIZER.end_of_text_id]]
    options: dict[str, Any] = {"bad_words_ids": bad, "min_new_tokens": 1, "max_new_tokens": 1}
    (group,) = LM.complete("the", n=4, num_beams=4, **options)
    assert {c.text for c in group} <= {" fox", " dog"}
    assert len(group) == 2


DRAFT = LanguageModel(lively_model(TOKENIZER.vocab_size + 3, seed=1), TOKENIZER)


@pytest.mark.parametrize("how", [{}, {**SAMPLED, "n": 2}, {"logprobs": 2, "stop": ["o"]}])
@pytest.mark.parametrize(
    "guesses",
    [{"prompt_lookup_num_tokens": 4}, {"assistant_model": LM}, {"assistant_model": DRAFT}],
)
def test_guessing_changes_no_continuation(guesses: dict[str, Any], how: dict[str, Any]) -> None:
    prompts = ["the fox", "the dog the dog the"]
    assert LM.complete(prompts, **how, **guesses) == LM.complete(prompts, **how)


def test_guesses_are_streamed() -> None:
    pieces = list(LM.stream("the fox", prompt_lookup_num_tokens=10, max_new_tokens=60))
    assert "".join(pieces) == LM.generate("the fox", max_new_tokens=60)
    assert len(pieces) > 10


def test_an_assistant_may_be_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lm = load(folder)
    plain = lm.generate("the fox")
    assert lm.generate("the fox", assistant_model=folder) == plain
    monkeypatch.setattr("gpt1.language_model.load", None)  # it is loaded once
    assert lm.generate("the fox", assistant_model=folder) == plain


def test_an_assistant_on_torch_guesses_for_a_model_on_torch(folder: Path) -> None:
    lm = load(folder, backend="torch")
    assert lm.generate("the fox", assistant_model=str(folder)) == lm.generate("the fox")


def test_an_assistant_with_another_vocabulary_is_refused(without_end: LanguageModel) -> None:
    with pytest.raises(ConfigError, match="assistant_model has another vocabulary, of 114 tokens"):
        LM.generate("the fox", assistant_model=without_end)
    wider = LanguageModel(lively_model(TOKENIZER.vocab_size + 4), TOKENIZER)
    with pytest.raises(ConfigError, match="tokens but the model has"):
        LM.stream("the fox", assistant_model=wider)


def test_contrastive_search_without_its_penalty_is_greedy() -> None:
    assert LM.generate("the fox", penalty_alpha=0.0, top_k=4) == LM.generate("the fox")
    assert LM.generate("the fox", penalty_alpha=0.9, top_k=4) != LM.generate("the fox")


@pytest.mark.parametrize("way", [{"num_beams": 2}, {"penalty_alpha": 0.5, "top_k": 2}, {}])
def test_a_wrong_id_is_refused_before_the_stream_is_read(way: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="stop_ids holds 9999"):
        LM.stream("the fox", stop_ids=[9999], **way)
    with pytest.raises(ConfigError, match="logit_bias holds the id 9999"):
        LM.stream("the fox", logit_bias={9999: 1.0}, **way)


def test_complete_takes_a_lone_string_as_one_prompt() -> None:
    assert LM.complete("the fox") == LM.complete(["the fox"])


def test_more_than_one_greedy_continuation_is_refused() -> None:
    with pytest.raises(ConfigError, match="n is 2 but greedy decoding has one answer"):
        LM.generate("the fox", n=2)


def test_score_gives_a_score_for_a_string_and_a_list_for_a_list() -> None:
    score = LM.score("the quick brown fox")
    assert isinstance(score, Score)
    assert score.ids == TOKENIZER.encode("the quick brown fox")
    assert LM.score(["fox", "the quick brown fox"])[1].sum == pytest.approx(score.sum)


def test_perplexity_of_texts_is_that_of_their_scores() -> None:
    texts = ["the quick brown fox", "he said it isn't"]
    scores = LM.score(texts)
    result = LM.perplexity(texts)
    tokens = sum(score.num_tokens for score in scores)
    assert (result.tokens, result.characters) == (tokens, sum(map(len, texts)))
    assert result.nats_per_token == pytest.approx(-sum(score.sum for score in scores) / tokens)


def test_perplexity_of_a_text_file_takes_it_as_one_text(tmp_path: Path) -> None:
    text = "the quick brown fox\njumps over the lazy dog"
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    assert LM.perplexity(path) == LM.perplexity(str(path)) == LM.perplexity([text])


def test_perplexity_of_a_table_reads_the_column_with_the_prefix(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("id,words\n1,the fox\n2,the dog\n", encoding="utf-8")
    expected = LM.perplexity(["he said: the fox", "he said: the dog"])
    assert LM.perplexity(path, text_column="words", prefix="he said: ") == expected


def test_perplexity_tells_of_each_text_where_it_is_from(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("id,words\n1,the fox\n2,the dog\n", encoding="utf-8")
    of_file: list[Document] = []
    of_texts: list[Document] = []
    LM.perplexity(path, text_column="words", prefix="he: ", documents=of_file.append)
    LM.perplexity(["he: the fox", "he: the dog"], documents=of_texts.append)
    assert [document.name for document in of_file] == ["table.csv:2", "table.csv:3"]
    assert [document.name for document in of_texts] == [None, None]
    assert [d.nats for d in of_file] == [d.nats for d in of_texts]


def test_perplexity_takes_a_stride_and_tells_how_far_it_has_come() -> None:
    told: list[int] = []
    text = "the quick brown fox jumps over the lazy dog " * 4
    exact = LM.perplexity([text], stride=1, advance=told.append)
    assert sum(told) == exact.tokens
    assert exact.stride == 1
    assert exact.nats_per_token != LM.perplexity([text]).nats_per_token


def test_perplexity_of_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        LM.perplexity(tmp_path / "nowhere.txt")


def test_explain_takes_text_or_ids() -> None:
    tokens = LM.explain("the quick fox", top=3)
    assert tokens == LM.explain(TOKENIZER.encode("the quick fox"), top=3)
    assert [token.piece for token in tokens] == ["the</w>", "quick</w>", "fox</w>"]
    assert [len(token.alternatives) for token in tokens] == [0, 3, 3]


def test_a_saved_model_loads_and_generates_the_same(folder: Path) -> None:
    lm = load(folder)
    assert not lm.model.training
    assert lm.generate("the fox", **SAMPLED) == LM.generate("the fox", **SAMPLED)
    assert load(str(folder)).score("the fox") == LM.score("the fox")


def test_load_takes_a_dtype_and_a_device(folder: Path) -> None:
    lm = load(folder, dtype="bfloat16", device=torch.device("cpu"))
    assert (lm.model.dtype, lm.model.device.type) == (torch.bfloat16, "cpu")
    assert lm.generate("the fox", **SAMPLED).startswith("the fox")


def test_load_refuses_what_is_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device 'cuda:99' cannot be used here"):
        load(folder, device="cuda:99")
    with pytest.raises(ConfigError, match="tokenizer mode is 'other'"):
        load(folder, tokenizer_mode="other")
    with pytest.raises(CheckpointError, match="nowhere"):
        load(tmp_path / "nowhere")
