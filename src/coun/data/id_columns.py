"""Which columns of a source name its rows, or may be meant by a list of ids."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coun.data.checks import whole_number


@dataclass(frozen=True)
class IdColumns:
    """The columns of a source, as far as ids are concerned.

    Args:
        column: the column that holds the ids of the rows, None where another thing does.
        possible: columns that may be meant by a list of ids, where none was chosen and row
            numbers serve as ids, because 17 may mean either. Where most rows have a value of
            their own, the set is empty and every list is refused. Where rows share values, as
            the rows of a customer do, these are in the set, and a list is refused if it has one.
        columns: all columns of a source that has columns.
    """

    column: str | None = None
    possible: Mapping[str, frozenset[str]] = field(default_factory=dict)
    columns: frozenset[str] = frozenset()

    def other_meaning(self, ids: Sequence[str]) -> str:
        """Say what *ids* may mean beside row numbers, and how to read such ids; "" if nothing else.

        >>> IdColumns(possible={"customer": frozenset({"7"})}).other_meaning(["8"])
        ''
        """
        every = [column for column, values in self.possible.items() if not values]
        if every and ids:
            return (
                f"id '{ids[0]}' may be a row number or a value of column "
                f"{' or '.join(map(repr, every))}, which differs in most rows; read the data with "
                f"--id-column {shlex.quote(every[0])} (in Python id_column=..., in an npz file "
                "arrays ids_train and ids_test) when a model is trained"
            )
        for column, values in self.possible.items():
            named = (name for name in ids if name in values or whole_number(name) in values)
            if (name := next(named, None)) is not None:
                return (
                    f"id '{name}' may be a row number or a value of column '{column}'; give each "
                    "row an id (--id-column, or arrays ids_train and ids_test of an npz file) when "
                    "a model is trained, and take the rows of one value from a table of ids with "
                    f"--where {shlex.quote(f'{column}=VALUE')}"
                )
        return ""


NO_COLUMNS = IdColumns()  # of a source without columns, in which nothing else can be meant
