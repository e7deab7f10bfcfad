"""A table as columns: of a million rows it takes a fraction of the room of a mapping for each, and no pandas.

Letters: R rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class Repeated:
    """A column of few texts that many rows have: each text is there once, and its number in every row.

    Attributes:
        texts: which rows have, each once.
        numbers: `(R,)`, the place of each row's text.
    """

    texts: tuple[str, ...]
    numbers: NDArray[Any]


Values: TypeAlias = "NDArray[Any] | Repeated"


@dataclass(frozen=True, eq=False)
class Columns:
    """Rows of a table, column by column.

    Attributes:
        values: column → its values `(R,)`: integers, numbers, or repeated texts.
    """

    values: Mapping[str, Values]

    def __len__(self) -> int:
        first = next(iter(self.values.values()), ())
        return len(first.numbers if isinstance(first, Repeated) else first)

    @cached_property
    def frame(self) -> DataFrame:
        """The same rows as a pandas DataFrame."""
        import pandas as pd

        columns: dict[str, Any] = {
            name: pd.Categorical.from_codes(values.numbers, list(values.texts))
            if isinstance(values, Repeated)
            else values
            for name, values in self.values.items()
        }
        return pd.DataFrame(columns, copy=False)

    def first_empty(self, column: str) -> int | None:
        """Returns the number of the first row in which a column is empty; None if there is none."""
        import numpy as np

        values = self.values[column]
        if isinstance(values, Repeated):
            empty = np.isin(values.numbers, [place for place, text in enumerate(values.texts) if text == ""])
        else:
            empty = values != values
        return int(empty.argmax()) if empty.any() else None

    def first_repeated(self, columns: list[str]) -> int | None:
        """Returns the number of the first row that agrees with an earlier one in these columns; None: there is none."""
        import numpy as np

        key, size = np.zeros(len(self), dtype=np.int64), 1
        for name in columns:
            values = self.values[name]
            codes = values.numbers if isinstance(values, Repeated) else np.unique(values, return_inverse=True)[1]
            own = int(codes.max(initial=0)) + 1
            key, size = key * own + codes, size * own
        first = np.unique(key, return_index=True)[1]
        if len(first) == len(self):
            return None
        is_first = np.zeros(len(self), dtype=bool)
        is_first[first] = True
        return int(is_first.argmin())
