"""What is done to the world, one after the other, and what may come of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.world import LEASE_S, World

NODE_GAP_S, REDIS_GAP_S = 2.0, 5.0
SLOW_S = 0.05  # of every piece that passes, either way


@dataclass(frozen=True)
class Stroke:
    """`rest` lets the load go on for a while."""

    world: World
    rest: Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """`gap_s`: target for the longest gap in service. `repeats`: how often a caller may have to repeat an order.
    `may_oversell`: the design lets a slot be sold twice for a moment; the agent refuses what it cannot hold."""

    name: str
    strike: Callable[[Stroke], Awaitable[None]]
    gap_s: float | None = NODE_GAP_S
    repeats: int | None = 1
    may_oversell: bool = False
    replicated: bool = False  # needs a replica and Sentinels


async def nothing(stroke: Stroke) -> None:
    await stroke.rest()


async def kill_a_node(stroke: Stroke) -> None:
    node = stroke.world.nodes[0]
    node.kill()
    await stroke.rest()
    node.start()


async def roll(stroke: Stroke) -> None:
    """As a new release is deployed: one node after the other is told to go, and started again."""
    for node in stroke.world.nodes:
        await node.leave()
        node.start()
        await stroke.world.until_whole()


async def freeze_a_node(stroke: Stroke) -> None:
    """Beyond its leases: what it had claimed may be another's when it goes on."""
    node = stroke.world.nodes[1]
    node.freeze()
    await asyncio.sleep(1.2 * LEASE_S)
    await stroke.rest()
    node.thaw()


async def cut_a_node_from_redis(stroke: Stroke) -> None:
    link = stroke.world.nodes[2].links["redis"]
    await link.cut()
    await stroke.rest()
    await link.mend()


async def slow_redis(stroke: Stroke) -> None:
    await _slowed(stroke, "redis")


async def stall_a_node_from_redis(stroke: Stroke) -> None:
    """Half-open: nothing passes and nobody is told."""
    link = stroke.world.nodes[0].links["redis"]
    await link.stall()
    await stroke.rest()
    await link.mend()


async def cut_a_node_from_dynamodb(stroke: Stroke) -> None:
    link = stroke.world.nodes[0].links["dynamodb"]
    await link.cut()
    await stroke.rest()
    await link.mend()


async def slow_dynamodb(stroke: Stroke) -> None:
    await _slowed(stroke, "dynamodb")


async def flush(stroke: Stroke) -> None:
    assert stroke.world.master.ask("flushall") == "OK"
    await stroke.rest()


async def restart_everything(stroke: Stroke) -> None:
    await stroke.world.restart()
    await stroke.rest()


async def lose_the_master(stroke: Stroke) -> None:
    """What it acknowledges in its last second never reaches its replica, which then takes its place."""
    world = stroke.world
    # A replica that looks for a master elsewhere keeps what it has; Sentinel would put it right after 8 s.
    assert world.replica.ask("replicaof", "127.0.0.1", "1") == "OK"
    await asyncio.sleep(1)
    world.master.kill()
    await stroke.rest()


async def _slowed(stroke: Stroke, name: str) -> None:
    for node in stroke.world.nodes:
        await node.links[name].slow(SLOW_S)
    await stroke.rest()
    for node in stroke.world.nodes:
        await node.links[name].mend()


# Comes first: how long the longest gap is on this machine anyway.
NOTHING = Fault("nothing", nothing, gap_s=None)
FAULTS = (
    Fault("kill -9 a node, start it again", kill_a_node, may_oversell=True),
    Fault("restart nodes one by one", roll),
    Fault("stop a node beyond its leases", freeze_a_node, may_oversell=True),
    Fault("cut a node from Redis", cut_a_node_from_redis, may_oversell=True),
    Fault("stall a node's link to Redis", stall_a_node_from_redis, may_oversell=True),
    Fault("50 ms more to Redis, each way", slow_redis),
    Fault("cut a node from DynamoDB", cut_a_node_from_dynamodb),
    Fault("50 ms more to DynamoDB, each way", slow_dynamodb),
    Fault("FLUSHALL", flush, may_oversell=True),
    Fault("kill and start everything", restart_everything, gap_s=None, repeats=None, may_oversell=True),
    Fault(
        "lose the master of Redis, and what it knew alone",
        lose_the_master,
        REDIS_GAP_S,
        may_oversell=True,
        replicated=True,
    ),
)
