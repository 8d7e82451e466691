"""Imported by the process that others are forked from, once it has imported the libraries: what they need of ours.

None of it looks at the environment while it is imported, which each of them gets later.
"""

import sys

import nightshift.cli
import nightshift.operating  # noqa: F401
from tests.sooner import read_now

for name in ("app", "chalicelib.telemetry"):
    assert name not in sys.modules, f"{name} looks at the environment while it is imported"
read_now()
