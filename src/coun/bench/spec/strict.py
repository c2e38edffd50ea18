"""The base of every table in a config, and the number types that tables share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coun.errors import nearest

Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class StrictModel(BaseModel):
    """A table of the config that refuses unknown keys and suggests the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, given: Any) -> Any:
        for key in given if isinstance(given, Mapping) else ():
            if key not in cls.model_fields:
                known = ", ".join(sorted(cls.model_fields))
                raise ValueError(
                    f"unknown key '{key}'{nearest(key, cls.model_fields)}; known: {known}"
                )
        return given
