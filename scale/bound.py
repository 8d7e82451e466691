"""A limit on paper: what it allows beside what is needed."""

from dataclasses import dataclass

from scale.table import number, table


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A limit of a path: what it allows and what is needed, in the same unit, and the setting that moves it."""

    path: str
    limit: str
    allows: float
    needs: float
    unit: str
    change: str

    @property
    def room(self) -> float:
        """How many times what is needed it allows: below 1 it binds."""
        return self.allows / self.needs


def ordered(bounds: list[Bound]) -> tuple[Bound, ...]:
    """Return the bounds path by path, within each the one first that binds first."""
    paths = list(dict.fromkeys(bound.path for bound in bounds))
    return tuple(sorted(bounds, key=lambda bound: (paths.index(bound.path), bound.room)))


def tell(bounds: tuple[Bound, ...]) -> str:
    """Return the table of bounds."""
    heads = ("path", "limit", "unit", "to change", "allows", "needed", "room")
    rows = [
        (
            bound.path,
            bound.limit,
            bound.unit,
            bound.change,
            number(bound.allows),
            number(bound.needs),
            f"**{bound.room:.2g}×**" if bound.room < 1 else f"{bound.room:,.1f}×",
        )
        for bound in bounds
    ]
    return table(heads, rows, texts=4)
