"""Every backend of the ledger. Each contract test runs on all of them, none is ever skipped."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from gollem.ledger import Ledger, open_ledger, sqlite
from tests.servers.dynamodb_local import make_table

Open = Callable[[Path], Awaitable[Ledger]]


async def open_model(folder: Path) -> Ledger:
    return await open_ledger("memory:")


async def open_sqlite(folder: Path) -> Ledger:
    """With batches of lines so small that statements are read from lines and from legs that have none."""
    return sqlite.open_sqlite(folder / "ledger.db", line_batch=5)


async def open_dynamodb(folder: Path) -> Ledger:
    """Needs the fixture `dynamodb_endpoint`."""
    return await open_ledger(await make_table(folder))


# By name: how to open an empty ledger of its own for a test, which has this folder for its files.
BACKENDS: dict[str, Open] = {"model": open_model, "sqlite": open_sqlite, "dynamodb": open_dynamodb}
