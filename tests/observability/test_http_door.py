"""Metrics and health over real HTTP: what each says, and that nobody can do more than ask."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from gollem.errors import LedgerUnavailable
from gollem.observability import HttpDoor, Meters, Phase, Readiness, Sample, http_door, metrics, readiness
from tests.fakes.clock import FakeClock
from tests.until import WITHIN_S, until


class Door:
    """One that is open, and its parts."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.meters, self.readiness = Meters(), Readiness(self.clock)
        self.http = HttpDoor(self.meters, self.readiness, self.clock, "127.0.0.1", 0)
        self.readiness.phase = Phase.SERVING

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.request(method, f"http://127.0.0.1:{self.http.port}{path}") as answer,
        ):
            return answer.status, await answer.text()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    opened = Door()
    await opened.http.start()
    yield opened
    await opened.http.stop()


async def test_metrics_and_liveness(door: Door) -> None:
    door.meters.read_from("test", lambda: [Sample(metrics.ASKS, 7)])
    status, text = await door.get("/metrics")
    assert status == 200
    assert "\ngollem_asks 7.0\n" in text
    assert await door.get("/healthz") == (200, "ok\n")


async def test_who_asks_again_at_once_gets_the_same_text(door: Door) -> None:
    asked: list[int] = []

    def count() -> list[Sample]:
        asked.append(1)
        return []

    door.meters.read_from("test", count)
    before = len(asked)
    await door.get("/metrics")
    await door.get("/metrics")
    assert len(asked) == before + 1
    door.clock.advance_ms(http_door.KEPT_MS)
    await door.get("/metrics")
    assert len(asked) == before + 2


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.DRAINING])
async def test_not_ready_while_it_starts_or_drains_but_alive(door: Door, phase: Phase) -> None:
    assert (await door.get("/readyz"))[0] == 200
    door.readiness.phase = phase
    status, text = await door.get("/readyz")
    assert status == 503
    assert f'"phase": "{phase}"' in text
    assert (await door.get("/healthz"))[0] == 200


async def test_not_ready_while_the_ledger_does_not_answer(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = True

    async def ledger() -> None:
        if gone:
            raise LedgerUnavailable("no disk at /secret/place")

    async def hangs() -> None:
        await asyncio.Event().wait()

    door.readiness.ask("ledger", ledger)
    status, text = await door.get("/readyz")
    assert status == 503
    assert "LEDGER_UNAVAILABLE" in text
    assert "secret" not in text
    gone = False
    door.clock.advance_ms(1_000)
    assert (await door.get("/readyz"))[0] == 200
    monkeypatch.setattr(readiness, "ASK_TIMEOUT_S", 0.01)
    door.readiness.ask("slow", hangs)
    door.clock.advance_ms(1_000)
    status, text = await door.get("/readyz")
    assert status == 503
    assert "no answer within" in text


async def test_questions_are_asked_once_however_many_ask(door: Door) -> None:
    asked: list[int] = []

    async def question() -> None:
        asked.append(1)
        await asyncio.sleep(0)

    door.readiness.ask("q", question)
    assert {status for status, _ in await asyncio.gather(*(door.get("/readyz") for _ in range(8)))} == {200}
    assert len(asked) == 1


async def test_degraded_is_told_and_stays_ready(door: Door) -> None:
    door.readiness.degraded_if(lambda: True)
    status, text = await door.get("/readyz")
    assert status == 200
    assert '"degraded": true' in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/metrics", 405), ("DELETE", "/healthz", 405), ("GET", "/", 404), ("GET", "/metrics/x", 404)],
)
async def test_nothing_else_is_served(door: Door, method: str, path: str, status: int) -> None:
    assert (await door.get(path, method))[0] == status


async def test_a_connection_too_many_and_one_that_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_door, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(http_door, "CONNECTION_S", 0.2)
    door = Door()
    await door.http.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", door.http.port)
    writer.write(b"GET /me")
    await until(lambda: door.http._http.connections == 1)
    other, second = await asyncio.open_connection("127.0.0.1", door.http.port)
    assert await asyncio.wait_for(_rest(other), WITHIN_S) == b""
    assert await asyncio.wait_for(reader.read(), WITHIN_S) == b""
    for each in (writer, second):
        each.close()
    await door.http.stop()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""
