"""Types that state the range of a config field: `learning_rate: Positive`. sweep/core/typed.py enforces them.

Every number and text of a pipeline's schema uses one of these types or an Annotated range; tests check this. NaN and
infinity are always refused.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from annotated_types import Ge, Gt, Le, Lt, Predicate


class Anything:
    """Marks a field that accepts every value."""


ANY = Anything()

Count: TypeAlias = Annotated[int, Ge(1)]
Natural: TypeAlias = Annotated[int, Ge(0)]
Seed: TypeAlias = Annotated[int, Ge(0), Lt(2**32)]  # the range of numpy; `random` treats -1 like 1
WholeNumber: TypeAlias = Annotated[int, ANY]
Positive: TypeAlias = Annotated[float, Gt(0)]
NotNegative: TypeAlias = Annotated[float, Ge(0)]
Share: TypeAlias = Annotated[float, Ge(0), Le(1)]
ShareBelowOne: TypeAlias = Annotated[float, Ge(0), Lt(1)]
ShareAboveZero: TypeAlias = Annotated[float, Gt(0), Le(1)]
InsideZeroToOne: TypeAlias = Annotated[float, Gt(0), Lt(1)]


def has_text(text: object) -> bool:
    """Whether the text contains anything but white space."""
    return bool(str(text).strip())


Text: TypeAlias = Annotated[str, Predicate(has_text)]  # a name, a path, a sentence
FreeText: TypeAlias = Annotated[str, ANY]  # may be empty or blank
