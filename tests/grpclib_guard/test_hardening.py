"""Each scenario twice: the guarded server withstands it, grpclib alone does not (else the guard may be thinned)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from . import scenarios

Scenario = Callable[[scenarios.Target], Awaitable[bool]]

SCENARIOS: list[Scenario] = [
    scenarios.odd_header,
    scenarios.undecodable_metadata,
    scenarios.reset_at_once,
    scenarios.huge_message,
    scenarios.compressed_message,
    scenarios.undecodable_message,
    scenarios.truncated_message,
    scenarios.no_message,
    scenarios.huge_timeout,
    scenarios.reset_flood,
    scenarios.ping_flood,
    scenarios.settings_flood,
    scenarios.empty_data_flood,
    scenarios.deaf_handler,
    scenarios.says_why_it_closes,
    scenarios.unknown_frame,
    scenarios.empty_data,
    scenarios.oversized_frame,
    scenarios.one_stream_too_many,
    scenarios.client_goaway,
    scenarios.missing_pseudo_headers,
]

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)


@each_scenario
async def test_guarded_server_withstands(scenario: Scenario, serve: Any) -> None:
    server = await serve(max_streams=100)
    async with scenarios.Target(server.port, 10) as target:
        assert await scenario(target)


@each_scenario
async def test_grpclib_alone_does_not(scenario: Scenario, plain: int) -> None:
    # Its complaints about itself are not ours to judge.
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    # Most of them wait in full for what never comes.
    async with scenarios.Target(plain, 0.2) as target:
        assert not await scenario(target)


@each_scenario
async def test_other_connections_are_not_disturbed(scenario: Scenario, serve: Any, connect: Any) -> None:
    server = await serve(max_streams=100)
    bystander = await connect(server.port)
    async with scenarios.Target(server.port, 10) as target:
        attack = asyncio.ensure_future(scenario(target))
        while not attack.done():
            assert await bystander.status(scenarios.ECHO) == 0
        assert attack.result()
    assert await bystander.status(scenarios.ECHO) == 0
