"""Checksums of a table's rows, equal for equal rows: of their texts in the order of a key, or of all in no order."""

import hashlib

from chalicelib.backup.selection import END_OF_ROW


class Ordered:
    """Of rows in the order of a key: one digest over all."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, texts: bytes) -> None:
        """Add rows, with ends of rows between them."""
        self._digest.update(texts)
        self._digest.update(END_OF_ROW)

    def add_piece(self, piece: bytes) -> None:
        """Add a piece of a row."""
        self._digest.update(piece)

    def end_pieces(self) -> None:
        """End the row whose pieces were added."""
        self._digest.update(END_OF_ROW)

    def __str__(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


class Unordered:
    """Of rows without a key, which come in any order: the sum of their digests."""

    def __init__(self) -> None:
        self._sum = 0
        self._digest = hashlib.sha256()

    def add(self, texts: bytes) -> None:
        """Add rows, with ends of rows between them."""
        self._sum += sum(int.from_bytes(hashlib.sha256(text).digest(), "big") for text in texts.split(END_OF_ROW))

    def add_piece(self, piece: bytes) -> None:
        """Add a piece of a row."""
        self._digest.update(piece)

    def end_pieces(self) -> None:
        """End the row whose pieces were added."""
        self._sum += int.from_bytes(self._digest.digest(), "big")
        self._digest = hashlib.sha256()

    def __str__(self) -> str:
        return f"sum-of-sha256:{self._sum % 2**256:064x}"
