"""The virtual environment that the rivals share, apart from the project's own."""

import fcntl
import subprocess
import sys
from pathlib import Path

RIVALS = {"huey": "3.5.4", "dramatiq": "2.2.1", "celery": "5.7.0", "rq": "3.0.0"}
# All of them reach Redis by redis-py, which parses faster with hiredis.
OTHERS = """
redis==8.1.0 hiredis==3.5.0 kombu==5.7.0 amqp==5.4.2 billiard==4.3.2 vine==5.1.0 click==8.5.1 click-didyoumean==0.3.1
click-plugins==1.1.1.2 click-repl==0.4.1 croniter==7.0.0 packaging==26.3 prompt_toolkit==3.0.53
python-dateutil==2.9.0.post0 six==1.17.0 typing_extensions==4.16.0 tzlocal==5.4.5 wcwidth==0.9.4
"""


def rivals_python(folder: Path) -> Path:
    """Return the interpreter of the rivals' virtual environment, made in the folder unless it is there already."""
    packages = [*(f"{name}=={version}" for name, version in RIVALS.items()), *OTHERS.split()]
    environment, contents = folder.absolute() / "venv", "\n".join([sys.version, *packages])
    python, stamp = environment / "bin" / "python", environment / ".installed"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != contents:
            subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(environment)], check=True)
            pip = [sys.executable, "-m", "pip", f"--python={python}", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, "--no-deps", *packages], check=True)
            stamp.write_text(contents)
    return python
