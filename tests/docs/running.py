"""Blocks of Python, run with the names that their page says there are."""

import ast
from importlib import import_module
from typing import Any

from tests.docs.pages import Block, blocks

PYTHON = blocks("python")
# Where the names are from that a reader finds in the file that the page is about.
IMPORTED = {
    "Any": "typing",
    "Context": "chalicelib.core.context",
    "Counts": "chalicelib.core.outcome",
    "Credential": "chalicelib.tasks.external_sync.sources",
    "Cursors": "chalicelib.tasks.external_sync.pages",
    "handler": "chalicelib.queue.handler",
    "Job": "chalicelib.queue.job",
    "Rate": "chalicelib.queue.handler",
    "Rule": "chalicelib.tasks.database_cleanup.rules",
    "Source": "chalicelib.tasks.external_sync.sources",
    "Boolean": "sqlalchemy",
    "Column": "sqlalchemy",
    "Id": "chalicelib.columns",
    "IntegerId": "chalicelib.columns",
    "Moment": "chalicelib.columns",
    "String": "sqlalchemy",
    "Table": "sqlalchemy",
    "false": "sqlalchemy",
    "func": "sqlalchemy",
    "insert": "sqlalchemy",
    "select": "sqlalchemy",
    "timedelta": "datetime",
    "users": "chalicelib.application",
}
MODULES = ("json", "msgspec")


def block_with(text: str) -> Block:
    """Return the one block in which this stands."""
    (found,) = (block for block in PYTHON if text in block.text)
    return found


def run(block: Block, **own: Any) -> dict[str, Any]:
    """Run a block and return its names; an expression that it ends with is called `value`."""
    names = {name: getattr(import_module(module), name) for name, module in IMPORTED.items()}
    names |= {name: import_module(name) for name in MODULES} | own
    tree = ast.parse(block.text)
    if isinstance(last := tree.body[-1], ast.Expr):
        tree.body[-1] = ast.Assign([ast.Name("value", ast.Store())], last.value)
    exec(compile(ast.fix_missing_locations(tree), block.name, "exec"), names)
    return names
