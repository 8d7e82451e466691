"""The story of a run or a job: every line that tells of it, whichever function wrote it."""

import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from chalicelib.core.clock import Clock, from_ms
from nightshift.logs.lines import readable

LONGEST = 60


class Story(io.TextIOBase):
    """A log of all functions in one file; what is written to it as to a stream is the soak's own."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._file = path.open("w", encoding="utf-8")
        self.lines = 0

    def add(self, function: str, line: str) -> None:
        """Add a line, with the time that the soak has."""
        self.lines += 1
        told = {"at": from_ms(self._clock.now_ms()).isoformat(), "function": function, "line": line}
        print(json.dumps(told), file=self._file)

    def write(self, text: str) -> int:
        """Add what a logger in this process writes."""
        if line := text.strip():
            self.add("soak", line)
        return len(text)

    def close(self) -> None:
        """Write nothing more."""
        self._file.close()
        super().close()

    def of(self, *words: str) -> Iterator[str]:
        """Yield the lines in which any of the words stands, such as a run's id, as people read them."""
        self._file.flush()
        found = 0
        with self._path.open(encoding="utf-8") as file:
            for line in file:
                if any(word in line for word in words) and found < LONGEST:
                    told = json.loads(line)
                    text = readable(told["line"], at=datetime.fromisoformat(told["at"]), function=told["function"])
                    if text is not None:
                        found += 1
                        yield text
