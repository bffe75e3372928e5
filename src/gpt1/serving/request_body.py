"""The body of a request: what it does not know it refuses by name."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError


class RequestBody(BaseModel):
    """Fields of JSON, of exactly their types; numbers are finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, data: Any) -> Any:
        known = list(cls.model_fields)
        unknown = [name for name in data if name not in known] if isinstance(data, dict) else []
        if not unknown:
            return data
        errors = [
            InitErrorDetails(type=_unknown(name, known), loc=(name,), input=None)
            for name in unknown
        ]
        raise ValidationError.from_exception_data(cls.__name__, errors)


def _unknown(name: str, known: list[str]) -> PydanticCustomError:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return PydanticCustomError("unknown_parameter", "unknown parameter; {hint}", {"hint": hint})
