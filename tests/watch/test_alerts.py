"""Alerts fire and clear, in a real Prometheus, because of what really goes wrong at an exchange under traffic.

Windows and thresholds are those of moments. What goes wrong with money, and with the ledger, is in
`test_money_alerts.py`; the rules as they are, in promtool's own time, in `test_rules.py`.
"""

import asyncio
import sqlite3
import time
from contextlib import closing
from itertools import chain
from pathlib import Path

from gollem.app import App
from gollem.config import load
from gollem.rpc.pb import admin_pb2, provider_pb2
from tests.servers.redis_server import wait_for
from tests.until import until_answer
from tests.watch.alarms import Alarms, Troubles, moments, quick_rules, wanted
from tests.watch.conftest import Stage


async def an_ask_goes(stage: Stage, alarms: Alarms) -> None:
    request = provider_pb2.DeregisterRequest(provider_id="p2", ask_id="a")
    await stage.site.provider.Deregister(request, metadata=stage.site.p2)
    await alarms.fires("BookShallow")
    await stage.site.sell("p2")
    await alarms.clears("BookShallow")


async def an_agent_falls_silent(stage: Stage, alarms: Alarms) -> None:
    stage.traffic.silent.add("p1")
    await alarms.fires("ProvidersStale")
    stage.traffic.silent.clear()
    await alarms.clears("ProvidersStale", "BookShallow")


async def orders_fail(stage: Stage, alarms: Alarms) -> None:
    """The circuit lets a probe through after three seconds."""
    order_id, provider = await stage.traffic.match()
    await stage.traffic.fail(order_id)
    await alarms.fires("CircuitsOpen")
    await stage.traffic.settle(order_id, provider)
    await alarms.clears("CircuitsOpen", "BookShallow")


async def a_hold_is_not_expired(stage: Stage, alarms: Alarms) -> None:
    order_id, provider = await stage.traffic.match()
    await alarms.fires("HoldLeak")
    await stage.traffic.settle(order_id, provider)
    await alarms.clears("HoldLeak")


async def the_books_are_forged(stage: Stage, alarms: Alarms) -> None:
    _forge(stage.data, 1)
    await alarms.fires("ReconciliationBreak", "PayoutsHalted")
    _forge(stage.data, -1)
    await alarms.clears("ReconciliationBreak")
    await stage.site.admin.ResumePayouts(admin_pb2.ResumePayoutsRequest(), metadata=stage.site.ops)
    await alarms.clears("PayoutsHalted")


def _forge(data: Path, atoms: int) -> None:
    with closing(sqlite3.connect(data / "ledger.db", timeout=20)) as connection:
        connection.execute("UPDATE account SET balance_atoms = balance_atoms + ? WHERE account = 'X:promo'", (atoms,))
        connection.commit()


async def something_holds_up_the_loop(stage: Stage, alarms: Alarms) -> None:
    """The exchange runs in this process: whoever blocks here blocks it."""
    blocked = asyncio.create_task(_block())
    await alarms.fires("EventLoopLate")
    blocked.cancel()
    await alarms.clears("EventLoopLate", "MatcherDown")


async def _block() -> None:
    while True:
        time.sleep(0.5)  # noqa: ASYNC251 - which is the point
        await asyncio.sleep(0.2)


async def redis_dies(stage: Stage, alarms: Alarms) -> None:
    """Matches fail, as a node alone is not to decide here: that burns the budget of errors, too."""
    stage.redis.kill()
    await alarms.fires("RedisLag", "ErrorBudgetBurnFast", "ErrorBudgetBurnSlow")
    stage.redis.start()
    await asyncio.to_thread(wait_for, lambda: stage.redis.ask("ping") == "PONG", "Redis")
    await alarms.clears("RedisLag", "ErrorBudgetBurnFast", "ErrorBudgetBurnSlow")


async def the_server_stops(stage: Stage, alarms: Alarms) -> None:
    await stage.traffic.stop()
    await stage.site.app.stop()
    await alarms.fires("MatcherDown")
    stage.site.app = App(load(overrides=stage.settings))
    await stage.site.app.start()
    await alarms.clears("MatcherDown")
    await stage.traffic.start()


TROUBLES: Troubles[Stage] = {
    an_ask_goes: ["BookShallow"],
    an_agent_falls_silent: ["ProvidersStale"],
    orders_fail: ["CircuitsOpen"],
    a_hold_is_not_expired: ["HoldLeak"],
    something_holds_up_the_loop: ["EventLoopLate"],
    redis_dies: ["RedisLag", "ErrorBudgetBurnFast", "ErrorBudgetBurnSlow"],
    the_books_are_forged: ["ReconciliationBreak", "PayoutsHalted"],
    the_server_stops: ["MatcherDown"],
}
SHORT = (an_ask_goes, the_server_stops)


async def test_each_trouble_is_told_and_told_to_be_over(stage: Stage) -> None:
    async with stage.watched(quick_rules(moments)) as prometheus:

        async def is_reckoned() -> bool:
            return bool(await asyncio.to_thread(prometheus.query, "gollem:match_duration_seconds:p99_5m > 0"))

        await until_answer(is_reckoned)
        alarms = Alarms(prometheus)
        await alarms.clears("MatchLatencyHigh", *chain.from_iterable(TROUBLES.values()))  # traffic alone is no trouble
        for trouble, names in wanted(TROUBLES, SHORT).items():
            await alarms.clears(*names)
            await alarms.provoke(stage, trouble, names)
