"""A headless Chromium that a test drives through a pipe: it opens pages, measures them and presses their buttons."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


class NoBrowserError(Exception):
    """None of the browsers is on this machine."""


@dataclass
class Browser:
    """One page, and the tool to look into it: Chrome's DevTools protocol."""

    reader: Any
    writer: Any
    session: str | None = None
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    # What the page asked for or complained of since it was opened.
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.writer.write(json.dumps(message).encode() + b"\0")
        self.writer.flush()
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        """Open a page and wait until it is there."""
        self.requests.clear()
        self.complaints.clear()
        self.call("Page.navigate", url=url)
        self.wait()

    def wait(self) -> None:
        """Wait until the page that is being opened is there."""
        while True:
            message = self._next()
            self._note(message)
            if message.get("method") == "Page.loadEventFired":
                return

    def show(self, *, width: int, scheme: str, height: int = 900) -> None:
        """Make the window this wide, with this colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media="screen", features=features)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _next(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self.reader.read(1)) != b"\0":
            assert byte, "the browser has ended"
            text += byte
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])
            case "Runtime.exceptionThrown" | "Page.javascriptDialogOpening" | "Runtime.consoleAPICalled":
                self.complaints.append(str(message["params"]))


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Run a browser with its profile in the folder. Raises NoBrowserError."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        raise NoBrowserError(f"no browser is installed, none of {', '.join(NAMES)}")
    to_browser, from_us = os.pipe()
    to_us, from_browser = os.pipe()
    # The browser reads its descriptor 3 and writes to 4.
    start = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
    command = ["sh", "-c", start, "sh", program, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder}"]
    process = subprocess.Popen(
        [*command, "about:blank"],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    with open(from_us, "wb") as writer, open(to_us, "rb") as reader:  # noqa: PTH123 (of pipes)
        found = Browser(reader, writer)
        try:
            target = found.call("Target.createTarget", url="about:blank")["targetId"]
            session = found.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            found.session = session
            for domain in ("Page", "Network", "Log", "Runtime"):
                found.call(f"{domain}.enable")
            yield found
        finally:
            found.session = None
            found.call("Browser.close")
            process.wait()
