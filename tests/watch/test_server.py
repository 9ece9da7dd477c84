"""A whole server tells of itself: from its start to the end of its drain."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gollem import app as built
from gollem.app import App
from gollem.config import load
from gollem.errors import LedgerUnavailable
from gollem.ledger import Ledger, open_ledger
from tests.rpc.conftest import SETTINGS
from tests.until import until_answer


async def get(app: App, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http,
        http.get(f"http://127.0.0.1:{app.metrics_port}{path}") as answer,
    ):
        return answer.status, await answer.text()


async def test_a_start_and_a_drain_can_be_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opening, opened = asyncio.Event(), asyncio.Event()

    async def slowly(url: str) -> Ledger:
        opening.set()
        await opened.wait()
        return await open_ledger(url)

    monkeypatch.setattr(built, "open_ledger", slowly)
    app = App(load(overrides=SETTINGS | {"storage.data": str(tmp_path)}))
    starting = asyncio.ensure_future(app.start())
    await opening.wait()
    status, text = await get(app, "/readyz")
    assert (status, '"phase": "starting"' in text) == (503, True)
    assert await get(app, "/healthz") == (200, "ok\n")
    opened.set()
    await starting
    assert (await get(app, "/readyz"))[0] == 200

    assert app._edge is not None
    drained, drain = asyncio.Event(), app._edge.drain

    async def slow_drain() -> int:
        await drained.wait()
        return await drain()

    monkeypatch.setattr(app._edge, "drain", slow_drain)
    stopping = asyncio.ensure_future(app.stop())

    async def is_draining() -> bool:
        status, text = await get(app, "/readyz")
        return status == 503 and '"phase": "draining"' in text

    await until_answer(is_draining)
    assert await get(app, "/healthz") == (200, "ok\n")
    port = app.metrics_port
    drained.set()
    await stopping
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_not_ready_while_its_ledger_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        """The same ledger, until it does not answer."""

        is_on = False

        def __init__(self, ledger: Ledger) -> None:
            self._ledger = ledger

        def __getattr__(self, name: str) -> Any:
            return getattr(self._ledger, name)

        async def account_atoms(self, account: str) -> int:
            if self.is_on:
                raise LedgerUnavailable("away")
            return await self._ledger.account_atoms(account)

    opened: list[Away] = []

    async def open_away(url: str) -> Any:
        opened.append(Away(await open_ledger(url)))
        return opened[0]

    monkeypatch.setattr(built, "open_ledger", open_away)
    quick = {"storage.data": str(tmp_path), "observability.read_interval_ms": "100"}
    app = App(load(overrides=SETTINGS | quick))
    await app.start()
    assert (await get(app, "/readyz"))[0] == 200
    opened[0].is_on = True

    async def is_told() -> bool:
        return "gollem_ready 0.0" in (await get(app, "/metrics"))[1]

    await until_answer(is_told)  # to who watches, though nobody asks for its readiness

    async def is_away() -> bool:
        status, text = await get(app, "/readyz")
        return status == 503 and "LEDGER_UNAVAILABLE" in text

    await until_answer(is_away)
    opened[0].is_on = False

    async def is_back() -> bool:
        return (await get(app, "/readyz"))[0] == 200

    await until_answer(is_back)
    await app.stop()
