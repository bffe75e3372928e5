"""What `/v1/completions` takes and gives, as OpenAI defines it, and some of vLLM's parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from gpt1.serving.errors import ApiError
from gpt1.serving.request_body import RequestBody

if TYPE_CHECKING:
    from gpt1.generation.settings import Settings
    from gpt1.serving.config import ServingConfig
    from gpt1.tokenizer import Tokenizer


def _wrong(message: str) -> PydanticCustomError:
    return PydanticCustomError("wrong_value", "{message}", {"message": message})


def _prompt(value: Any) -> Any:
    """Refuse what is no prompt in one sentence, where a union says one for each of its types."""
    if value is None:
        return ""
    items = value if isinstance(value, list) else [value]
    texts = all(isinstance(item, str) for item in items)
    if not items or not (texts or _are_ids(value) or all(map(_are_ids, items))):
        raise _wrong("must be a string, a list of strings, token ids, or lists of token ids")
    return value


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def _stop(value: Any) -> Any:
    """The same for stop strings."""
    texts = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise _wrong("must be a string or a list of strings, none of them empty")
    if len(texts) > 4:
        raise _wrong(f"holds {len(texts)} strings but must hold at most 4")
    return texts


def _bias(value: Any) -> Any:
    """The same for biases."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(map(_is_id, value)):
        raise _wrong('must be an object of token ids and biases, as in {"50": -100}')
    return value


def _is_id(key: str) -> bool:
    return key.isascii() and key.isdigit() and len(key) < 10


Prompt = str | list[str] | list[int] | list[list[int]]
Bias = Annotated[float, Field(ge=-100, le=100)]


class StreamOptions(RequestBody):
    """How to stream."""

    include_usage: bool | None = Field(None, description="Whether the last event tells the usage.")


class CompletionRequest(RequestBody):
    """A request for continuations of prompts. What is null has its default."""

    model: str | None = Field(None, description="Name of the model; default: the first.")
    prompt: Annotated[Prompt, BeforeValidator(_prompt)] = Field(
        "", description="Text, texts, token ids or lists of token ids."
    )
    max_tokens: Annotated[int, Field(ge=0)] | None = Field(
        None, description="New tokens at most; 0 only with echo. Default: 16."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="0 takes the likeliest token. Default: 1."
    )
    top_p: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Sample among the tokens that make up so much of the probability."
    )
    n: Annotated[int, Field(ge=1)] | None = Field(None, description="Choices of each prompt.")
    best_of: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Continuations of which the n likeliest, a token, are given."
    )
    stop: Annotated[str | list[str] | None, BeforeValidator(_stop)] = Field(
        None, description="Up to 4 strings that end the text; they are cut off."
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = Field(
        None, description="The same seed gives the same text."
    )
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = Field(
        None, description="Tell log-probabilities, and those of so many of the likeliest tokens."
    )
    echo: bool | None = Field(None, description="Whether the text begins with the prompt.")
    logit_bias: Annotated[dict[str, Bias] | None, BeforeValidator(_bias)] = Field(
        None, description="Added to the logits of tokens, by id."
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        None, description="Subtracted from the logit of what was generated before."
    )
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        None, description="The same, each time it was."
    )
    stream: bool | None = Field(None, description="Whether to send the text as it is made.")
    stream_options: StreamOptions | None = Field(None, description="Only with stream.")
    suffix: Any = Field(None, description="Refused: the model cannot fill in.")
    user: str | None = Field(None, description="Not read.")
    top_k: Annotated[int, Field(ge=-1)] | None = Field(
        None, description="Sample among the k likeliest tokens; 0 and -1: among all."
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Sample among the tokens at least so likely, beside the likeliest."
    )
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = Field(
        None, description="Divides the logits of what is in the text already."
    )
    min_tokens: Annotated[int, Field(ge=0)] | None = Field(
        None, description="New tokens before the text may end by an end-of-text token or stop id."
    )
    stop_token_ids: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, description="Token ids that end the text."
    )

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, one or several."""
        prompt = self.prompt
        if isinstance(prompt, str):
            return [prompt]
        if isinstance(prompt[0], int):
            return [prompt]
        return list(prompt)

    @property
    def new_tokens(self) -> int:
        """New tokens of a choice, at most."""
        return 16 if self.max_tokens is None else self.max_tokens

    @property
    def choices(self) -> int:
        """Choices of a prompt."""
        return self.n or 1

    @property
    def continuations(self) -> int:
        """Continuations of a prompt, of which the choices are taken."""
        return self.best_of or self.choices

    def check(self, config: ServingConfig) -> None:
        """Refuse what contradicts itself, cannot be done, or is more than a server allows.

        Raises:
            ApiError: If something is; it names the parameter.
        """
        most = {
            "max_tokens": (self.new_tokens, config.max_tokens),
            "n": (self.choices, config.max_n),
            "best_of": (self.continuations, config.max_n),
            "prompt": (len(self.prompts), config.max_prompts),
        }
        for param, (value, limit) in most.items():
            if value > limit:
                what = "has" if param == "prompt" else "is"
                raise _refused(param, f"{what} {value} but this server allows at most {limit}")
        together, room = len(self.prompts) * self.continuations, config.slots + config.waiting
        if together > room:
            raise _refused(
                "prompt",
                f"asks for {together} continuations in all, but this server takes {room} at a "
                "time; ask for less at once",
            )
        for wrong, param, message in self._contradictions():
            if wrong:
                raise _refused(param, message)

    def _contradictions(self) -> list[tuple[bool, str, str]]:
        return [
            (
                self.suffix is not None,
                "suffix",
                "cannot be used: the model only continues a text; leave it out",
            ),
            (
                self.new_tokens == 0 and not self.echo,
                "max_tokens",
                "is 0, which leaves nothing to answer; set echo to true, or ask for at least 1",
            ),
            (
                (self.min_tokens or 0) > self.new_tokens,
                "min_tokens",
                f"is {self.min_tokens} but max_tokens is {self.new_tokens}; it cannot be more",
            ),
            (
                self.continuations < self.choices,
                "best_of",
                f"is {self.best_of} but n is {self.choices}; it cannot be less",
            ),
            (
                bool(self.stream) and self.continuations > self.choices,
                "best_of",
                "cannot be used with stream: which are best is known at the end",
            ),
            (
                self.stream_options is not None and not self.stream,
                "stream_options",
                "is for streams; set stream to true, or leave it out",
            ),
        ]

    def settings(self, tokenizer: Tokenizer) -> Settings:
        """What the engine is to do.

        Args:
            tokenizer: Of the model.

        Raises:
            ApiError: If a token id is not one.
        """
        bias = {int(token): value for token, value in (self.logit_bias or {}).items()}
        for param, ids in {"logit_bias": bias, "stop_token_ids": self.stop_token_ids or []}.items():
            for token in ids:
                if token >= tokenizer.vocab_size:
                    known = f"the ids of this model are 0 to {tokenizer.vocab_size - 1}"
                    raise _refused(param, f"holds {token}, but {known}")
        count = self.logprobs
        return {
            "max_new_tokens": self.new_tokens or 1,
            "min_new_tokens": self.min_tokens,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k if self.top_k and self.top_k > 0 else None,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": bias or None,
            "stop": self.stop or None,
            "stop_ids": self.stop_token_ids,
            "logprobs": count or 0 if self.continuations > self.choices else count,
            "seed": self.seed,
        }


def _refused(param: str, message: str) -> ApiError:
    return ApiError(400, f"{param} {message}", param=param)


class Logprobs(BaseModel):
    """Log-probabilities of the tokens of a text; lists side by side."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """A continuation."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class PromptTokensDetails(BaseModel):
    """Of the tokens of the prompts, how many were known already."""

    cached_tokens: int


class CompletionUsage(BaseModel):
    """How many tokens there were."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class CompletionResponse(BaseModel):
    """The continuations."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: CompletionUsage | None
