"""The Redis of the simulation answers as a real one does: the same commands to both, whatever comes."""

import random
from collections.abc import Iterator

import pytest
import redis as vendor

from gollem.nodes.redis_client import library
from tests.servers.redis_server import RedisServer
from tests.simulation.redis.data import Data, WrongCommand
from tests.simulation.redis.server import Server
from tests.simulation.world import World

KEYS, NAMES = ("{p}a", "{p}b"), ("x", "y", "z")
COMMANDS = 1_500


@pytest.fixture
def client(redis: RedisServer) -> Iterator[vendor.Redis]:
    with vendor.Redis(port=redis.port, protocol=2, decode_responses=True) as opened:
        yield opened


def commands(dice: random.Random) -> Iterator[tuple[str, ...]]:
    """What the functions and the nodes say, on keys that are of one kind each."""
    for number in range(1, COMMANDS):
        key, name, other, small = dice.choice(KEYS), dice.choice(NAMES), dice.choice(NAMES), str(dice.randrange(9))
        yield dice.choice(
            (
                ("HSET", f"h{key}", name, small),
                ("HSET", f"h{key}", name, small, other, "7"),
                ("HGET", f"h{key}", name),
                ("HMGET", f"h{key}", name, other),
                ("HDEL", f"h{key}", name),
                ("HINCRBY", f"h{key}", name, f"-1{small}"),
                ("HGETALL", f"h{key}"),
                ("HSCAN", f"h{key}", "0", "COUNT", "500"),
                ("PTTL", f"h{key}"),
                ("ZADD", f"z{key}", small, name),
                ("ZADD", f"z{key}", "GT", small, name),
                ("ZREM", f"z{key}", name),
                ("ZCARD", f"z{key}"),
                ("ZRANGE", f"z{key}", "-inf", small, "BYSCORE", "LIMIT", "0", "2"),
                ("PEXPIRE", f"{dice.choice('hz')}{key}", "600000"),
                ("GET", f"s{key}"),
                ("SET", f"s{key}", small, "PX", "600000"),
                ("SET", f"t{key}", small, "NX", "GET"),
                ("XADD", f"x{key}", "MAXLEN", "~", "1000", f"{1 + number // 300}-{number}", "at", small, "batch", name),
                ("XADD", f"x{key}", "MAXLEN", "~", "1000", "1-1", "at", small),
                ("XREAD", f"x{key}", f"{1 + number // 300}-{number - 5}", "3"),
            )
        )
        if dice.random() < 0.01:
            yield ("FLUSHALL",)


def real(client: vendor.Redis, command: tuple[str, ...]) -> object:
    name, *rest = command
    try:
        if name == "XREAD":
            found = client.xread({rest[0]: rest[1]}, count=int(rest[2]))
            return found[0][1] if found else []
        if rest[2:] == ["NX", "GET"]:
            return client.set(rest[0], rest[1], nx=True, get=True)
        reply = client.execute_command(name, *rest)
    except vendor.ResponseError:
        return "refused"
    if name == "PEXPIRE":
        return int(reply)
    return "OK" if reply is True else reply


def plain(command: tuple[str, ...], reply: object) -> object:
    """As both can say it: pairs as a mapping, times to the nearest minute."""
    if command[0] in ("HGETALL", "HSCAN"):
        pairs = reply[1] if command[0] == "HSCAN" else reply  # type: ignore[index]
        return dict(zip(pairs[::2], pairs[1::2], strict=True)) if isinstance(pairs, list) else pairs
    return round(reply / 60_000) if command[0] == "PTTL" and isinstance(reply, int) and reply > 0 else reply


def test_each_command_answers_as_in_redis(client: vendor.Redis) -> None:
    data = Data()
    for command in commands(random.Random(7)):
        try:
            answer = data.call(10**15, *command)
        except WrongCommand:
            answer = "refused"
        assert plain(command, answer) == plain(command, real(client, command)), command


def test_the_functions_answer_as_in_redis(client: vendor.Redis) -> None:
    """Fences are told apart by their order: real ones have the time in them."""
    name, code = library()
    client.function_load(code, replace=True)
    world = World(seed=1, steps=0)
    server = Server(world)
    server.load(code)
    dice, fences = random.Random(7), ({0: 0}, {0: 0})

    def known(side: int, reply: object) -> object:
        """A fence as its number in the order of coming."""
        if isinstance(reply, list):
            return [known(side, part) for part in reply]
        return fences[side].setdefault(reply, len(fences[side])) if isinstance(reply, int) and reply > 10**12 else reply

    given: dict[str, list[int]] = {}
    for _ in range(400):
        order = dice.choice("abcdef")
        keys = ["{p}leases", "{p}due"]
        function = dice.choice(("claim", "claim", "release", "keep"))
        old = given.get(order, [1, 1])
        rest = {"claim": ["30", "600000", "100", "3"], "release": ["F"], "keep": ["30", "F", "600000"]}[function]
        answers = []
        for side in (0, 1):
            texts = [order, *(str(old[side]) if part == "F" else part for part in rest)]
            if side:
                world.loop._now_s += 0.001
                answers.append(server.call(f"{name}_{function}", keys, texts))
            else:
                answers.append(client.fcall(f"{name}_{function}", len(keys), *keys, *texts))
        if function == "claim" and answers[0][0]:
            given[order] = [answer[1] for answer in answers]
        assert known(0, answers[0]) == known(1, answers[1]), (function, order)
