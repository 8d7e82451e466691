"""A headless Chromium that a test drives through a pipe: it opens pages, measures them and presses their buttons."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from select import select
from typing import Any

PATIENCE_SECONDS = 60
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)

# Becomes the browser, which reads its descriptor 3 and writes to 4; first out of each other's way.
START = """
import fcntl, os, sys
for wanted, given in enumerate([fcntl.fcntl(int(each), fcntl.F_DUPFD, 10) for each in sys.argv[1:3]], start=3):
    os.dup2(given, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""


class NoBrowserError(Exception):
    """None of the browsers is on this machine."""


@dataclass
class Browser:
    """One page, and the tool to look into it: Chrome's DevTools protocol."""

    reader: int
    writer: int
    received: bytes = b""
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
        os.write(self.writer, json.dumps(message).encode() + b"\0")
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

    def press(self, key: str, code: int) -> None:
        """Press a key by its name and its number, as the page sees them."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.received:
            ready, _, _ = select([self.reader], [], [], PATIENCE_SECONDS)
            assert ready, "the browser does not answer"
            part = os.read(self.reader, 65_536)
            assert part, "the browser has ended"
            self.received += part
        text, _, self.received = self.received.partition(b"\0")
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
    arguments = [program, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", START, str(to_browser), str(from_browser), *arguments],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    found = Browser(to_us, from_us)
    try:
        target = found.call("Target.createTarget", url="about:blank")["targetId"]
        found.session = found.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            found.call(f"{domain}.enable")
        yield found
        found.session = None
        found.call("Browser.close")
        process.wait()
    finally:
        process.kill()
        process.wait()
        os.close(to_us)
        os.close(from_us)
