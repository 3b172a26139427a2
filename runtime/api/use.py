"""What the kiosk is for, and the words that the page may use; and the notice about bundles that a person has read."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from runtime.api.errors import ApiError
from runtime.api.models import Answer, Problem
from runtime.api.parts import Parts
from runtime.bundles.errors import BundleError


class ResultWords(Answer):
    """What one result is called, and what its grades are called, the lowest first."""

    name: str
    grades: list[str]


class Declared(Answer):
    """Who has declared clinical use, and when."""

    operator: str
    declared_utc: str


class UseAnswer(Answer):
    """The profile of use in force."""

    profile: Literal["wellness", "clinical"]
    version: str = Field(description="of the text of intended use")
    statement: str
    not_validated: str = Field(description="what is said beside a result whose model was not validated on real labels")
    words: dict[str, ResultWords] = Field(description="by key of the result; a result without words must not be shown")
    roles: list[str] = Field(description="of a bundle that may load")
    notice: str | None = Field(description="why the profile that was asked for is not in force, with the remedy")
    declared: Declared | None


def use_routes(parts: Parts) -> APIRouter:
    """The routes over `parts`."""
    router = APIRouter()

    @router.get("/api/use", tags=["state"])
    def use() -> UseAnswer:
        """The profile of use in force, with its words."""
        return UseAnswer.model_validate(parts.use().as_api())

    @router.delete("/api/models/notice", tags=["state"], status_code=204, responses={507: {"model": Problem}})
    def dismiss() -> None:
        """A person has read the notice about the installed bundles."""
        try:
            parts.models.dismiss_notice()
        except BundleError as problem:
            raise ApiError(507, "the notice could not be put away", str(problem)) from problem

    return router
