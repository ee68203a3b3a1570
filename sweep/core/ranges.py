"""Which values a field may have, stated beside the field: `learning_rate: Positive`. typed.py refuses the rest.

Every number and every text of a pipeline's schema names one of these types, or has a range of its own; tests hold the
schema to it. No number may be NaN or infinite, whatever its type says.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from annotated_types import Ge, Gt, Le, Lt, Predicate


class Anything:
    """Marks a field whose every value means something."""


ANY = Anything()

Count: TypeAlias = Annotated[int, Ge(1)]
Natural: TypeAlias = Annotated[int, Ge(0)]
Seed: TypeAlias = Annotated[int, Ge(0), Lt(2**32)]  # what numpy takes; -1 would mean the same as 1 to `random`
WholeNumber: TypeAlias = Annotated[int, ANY]
Positive: TypeAlias = Annotated[float, Gt(0)]
NotNegative: TypeAlias = Annotated[float, Ge(0)]
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
ShareBelowOne: TypeAlias = Annotated[float, Ge(0), Lt(1)]
ShareAboveZero: TypeAlias = Annotated[float, Gt(0), Le(1)]
InsideZeroToOne: TypeAlias = Annotated[float, Gt(0), Lt(1)]


def has_text(text: object) -> bool:
    """Whether there is more to it than white space."""
    return bool(str(text).strip())


Text: TypeAlias = Annotated[str, Predicate(has_text)]  # a name, a path, a sentence
FreeText: TypeAlias = Annotated[str, ANY]  # may be empty, or white space alone
