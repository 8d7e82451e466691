"""How much is tried of what could be: a part of it, spread evenly, or with SWEEP=1 all."""

import os

IS_SWEEP = os.environ.get("SWEEP") == "1"
TIMES = 16


def examples(all_: int) -> int:
    """Return how many examples a property is held to: a quarter of all, or all."""
    return all_ if IS_SWEEP else all_ // 4


def stories(few: int) -> int:
    """Return how many made-up stories are told: few, or several times as many."""
    return few * TIMES if IS_SWEEP else few


def some(count: int, *, of: int) -> list[int]:
    """Return so many of the numbers from 1 on, or all of them."""
    return (
        list(range(1, of + 1)) if IS_SWEEP or count >= of else [1 + n * (of - 1) // (count - 1) for n in range(count)]
    )
