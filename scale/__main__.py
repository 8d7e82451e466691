"""python -m scale [--write] [cost [--json]]: the tables of docs/scale.md, printed, or written into it."""

import argparse
from pathlib import Path

from scale import bound, cost
from scale.days import tell_days, tell_settings
from scale.document import fill
from scale.inputs import INPUTS
from scale.mornings import tell_mornings
from scale.paths import bounds
from scale.table import table

DOCUMENT = Path(__file__).parent.parent / "docs" / "scale.md"


def tell_inputs() -> str:
    """Return the table of inputs."""
    return table(("what", "from", "figure"), [(each.name, each.source, each.value) for each in INPUTS], texts=2)


def tell_reckoned() -> dict[str, str]:
    """Return the tables of the document that take no simulated day, each by the name of its place."""
    months = cost.months()
    return {
        "bounds": bound.tell(bounds()),
        "settings": tell_settings(),
        "costs": cost.as_summary(months),
        "prices": cost.as_prices(months),
        "inputs": tell_inputs(),
    }


def tell_all() -> dict[str, str]:
    """Return each table of the document by the name of its place."""
    return tell_reckoned() | {"days": tell_days(), "mornings": tell_mornings()}


def main() -> None:
    """Print, or write."""
    parser = argparse.ArgumentParser(prog="python -m scale", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/scale.md")
    commands = parser.add_subparsers(dest="command")
    of_cost = commands.add_parser("cost", help="what a month costs, line by line")
    of_cost.add_argument("--json", action="store_true", help="as JSON")
    arguments = parser.parse_args()
    if arguments.command == "cost":
        months = cost.months()
        print(cost.as_json(months) if arguments.json else cost.as_markdown(months))
        return
    tables = tell_all()
    print("\n\n".join(tables.values()))
    if arguments.write:
        DOCUMENT.write_text(fill(DOCUMENT.read_text(encoding="utf-8"), tables, mark="scale"), encoding="utf-8")


if __name__ == "__main__":
    main()
