"""Chance that the same seed repeats, so that whoever runs the demo sees what its documents show."""

from random import Random
from uuid import UUID


def seeded(kind: str, seed: int) -> Random:
    """Return a generator for rows of this kind, which those of other kinds do not disturb."""
    return Random(f"{kind}-{seed}")  # noqa: S311 - the same seed must give the same rows; nothing here is secret


def new_id(rng: Random) -> str:
    """Return a UUID of version 4."""
    return str(UUID(int=rng.getrandbits(128), version=4))
