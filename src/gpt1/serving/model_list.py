"""`/v1/models`: what a server has."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from gpt1.serving.errors import ERRORS
from gpt1.serving.models import Models

router = APIRouter()


class Model(BaseModel):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "gpt1"


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[Model]


@router.get("/v1/models")
async def list_models(request: Request) -> ModelList:
    """List the models."""
    models: Models = request.app.state.models
    return ModelList(data=[Model(id=name, created=models.created) for name in models.names])


@router.get("/v1/models/{name:path}", responses=ERRORS)
async def show_model(name: str, request: Request) -> Model:
    """Describe one of the models; its name may hold slashes."""
    models: Models = request.app.state.models
    models.check(name)
    return Model(id=name, created=models.created)
