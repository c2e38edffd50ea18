"""What every table of a bench config has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coun.errors import nearest

Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class StrictModel(BaseModel):
    """A table of the config that refuses unknown keys and suggests the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: Any) -> Any:
        for key in values if isinstance(values, Mapping) else ():
            if key not in cls.model_fields:
                keys = ", ".join(sorted(cls.model_fields))
                raise ValueError(
                    f"unknown key '{key}'{nearest(key, cls.model_fields)}; known: {keys}"
                )
        return values


def check_unique(what: str, names: Sequence[Any]) -> None:
    """Refuse a name or value that appears twice."""
    for name in names:
        if list(names).count(name) > 1:
            raise ValueError(f"{what} '{name}' appears twice; expected each {what} once")
