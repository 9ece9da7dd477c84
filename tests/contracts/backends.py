"""Every backend of the ledger. Each contract test runs on all of them, none is ever skipped."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from gollem.ledger import Ledger, open_ledger

Open = Callable[[Path], Awaitable[Ledger]]


async def open_model(folder: Path) -> Ledger:
    return await open_ledger("memory:")


async def open_sqlite(folder: Path) -> Ledger:
    return await open_ledger(f"sqlite://{folder}/ledger.db")


# By name: how to open an empty ledger of its own for a test, which has this folder for its files.
BACKENDS: dict[str, Open] = {"model": open_model, "sqlite": open_sqlite}
