"""What every part is as a command: sizes as options, tables printed for people, or JSON for the whole bench."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from bench.markdown import tell_part
from bench.report import Part
from bench.servers import NAMES
from bench.stored import with_ratios
from nightshift.local.environment import enter, isolated
from nightshift.local.servers import NotInstalledError

# A size in full, and for a look at whether all works.
Sizes = Mapping[str, tuple[int, int]]


def run(measure: Callable[[argparse.Namespace], Part], about: str, sizes: Sizes) -> None:
    """Measure with the sizes that the options say, and print. Ends the process with a sentence where that cannot be."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    for name, (full, _) in sizes.items():
        parser.add_argument(f"--{name}", type=int, help=f"{full:,} unless said otherwise")
    parser.add_argument("--server", choices=NAMES, help="on which database; the first that is installed")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--json", action="store_true", help="as JSON")
    arguments = parser.parse_args()
    for name, (full, quick) in sizes.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, quick if arguments.quick else full)
    # Nothing is measured in anybody's account, nor with the settings of one.
    enter(isolated(os.environ))
    began = time.perf_counter()
    try:
        part = measure(arguments)
    except NotInstalledError as error:
        sys.exit(str(error))
    part = replace(part, seconds=round(time.perf_counter() - began, 1))
    print(json.dumps(with_ratios(part)) if arguments.json else tell_part(part))
