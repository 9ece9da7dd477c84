"""Leases in Redis: the last slot goes to one order, a lost answer is had again, and what runs out comes back."""

import asyncio

import pytest

from gollem.nodes import ClaimRequest, Granted, Lease, Refused, SharedBook
from tests.nodes.conftest import OpenNode
from tests.nodes.samples import MODEL, a_claim
from tests.servers.redis_server import RedisServer
from tests.until import until_answer


@pytest.fixture(params=["redis_url", "cluster_url"])
async def node(request: pytest.FixtureRequest, open_node: OpenNode) -> SharedBook:
    return (await open_node(request.getfixturevalue(request.param)))[0]


async def fence(node: SharedBook, request: ClaimRequest) -> int:
    answer = await node.claim(request)
    assert isinstance(answer, Granted), answer
    return answer.fence


async def test_two_slots_hold_two_orders(node: SharedBook) -> None:
    first = await fence(node, a_claim("a"))
    await fence(node, a_claim("b"))
    assert await node.claim(a_claim("c")) == Refused(free_tokens=80, free_slots=0)
    assert await fence(node, a_claim("a")) == first, "the same order has it already"


async def test_tokens_run_out_before_slots(node: SharedBook) -> None:
    await fence(node, a_claim("a", tokens=60))
    assert await node.claim(a_claim("b", tokens=41)) == Refused(free_tokens=40, free_slots=1)
    await fence(node, a_claim("c", tokens=40))


async def test_asks_do_not_share(node: SharedBook) -> None:
    await fence(node, a_claim("a", slots=1))
    await fence(node, a_claim("b", "provider-2/ask", slots=1))


async def test_only_the_fence_that_was_given_releases(node: SharedBook) -> None:
    given = await fence(node, a_claim("a", slots=1))
    assert not await node.release(Lease("a", "provider-1/ask", MODEL, 10, given - 1))
    assert isinstance(await node.claim(a_claim("b", slots=1)), Refused)
    assert await node.release(Lease("a", "provider-1/ask", MODEL, 10, given))
    assert await fence(node, a_claim("b", slots=1)) > given


async def test_a_lease_that_ran_out_is_anothers(node: SharedBook) -> None:
    old = await fence(node, a_claim("a", slots=1, lease_ms=50))

    async def claimed_by_another() -> bool:
        return isinstance(await node.claim(a_claim("b", slots=1)), Granted)

    await until_answer(claimed_by_another)
    assert await node.release(Lease("a", "provider-1/ask", MODEL, 10, old)), "there is nothing of it left"
    assert isinstance(await node.claim(a_claim("c", slots=1)), Refused), "and nothing of the other's was given back"


async def test_a_renewed_lease_does_not_run_out(node: SharedBook) -> None:
    given = await fence(node, a_claim("a", slots=1, lease_ms=100))
    assert await node.renew(Lease("a", "provider-1/ask", MODEL, 10, given), 60_000)
    await fence(node, a_claim("clock", "provider-2/ask", slots=1, lease_ms=150))

    async def time_has_passed() -> bool:
        return isinstance(await node.claim(a_claim("other", "provider-2/ask", slots=1)), Granted)

    await until_answer(time_has_passed)
    assert isinstance(await node.claim(a_claim("b", slots=1)), Refused)


async def test_a_committed_order_holds_beyond_what_is_free(node: SharedBook) -> None:
    await fence(node, a_claim("a", slots=1))
    assert await node.renew(Lease("late", "provider-1/ask", MODEL, 10, fence=1), 60_000)
    assert await node.claim(a_claim("c", slots=2)) == Refused(free_tokens=80, free_slots=0)


async def test_a_stale_fence_renews_nothing(node: SharedBook) -> None:
    given = await fence(node, a_claim("a"))
    assert not await node.renew(Lease("a", "provider-1/ask", MODEL, 10, given - 1), 60_000)
    assert await fence(node, a_claim("a")) == given


async def test_restored_fences_push_later_ones_up(node: SharedBook) -> None:
    ahead = 8_000_000_000_000_000  # of a node that decided alone, and whose clock was far ahead
    assert await node.restore([(Lease("a", "provider-1/ask", MODEL, 10, ahead), 60_000)]) == 1
    assert await fence(node, a_claim("b")) == ahead + 1


async def test_leases_of_many_asks_are_restored_at_once(node: SharedBook) -> None:
    leases = [(Lease(f"o{n}", f"p{n % 7}/ask", MODEL, 1, fence=n + 1), 60_000) for n in range(700)]
    assert await node.restore(leases) == 700
    assert await node.claim(a_claim("new", "p0/ask", tokens=1, slots=100)) == Refused(free_tokens=0, free_slots=0)


async def test_one_of_64_gets_the_last_slot(node: SharedBook) -> None:
    answers = await asyncio.gather(*(node.claim(a_claim(f"o{n}", slots=1)) for n in range(64)))
    assert sum(isinstance(answer, Granted) for answer in answers) == 1
    assert node.status().refused == 63


async def test_two_nodes_share_the_slots(redis_url: str, open_node: OpenNode) -> None:
    (one, _), (other, _) = await open_node(redis_url, "one"), await open_node(redis_url, "other")
    given = await fence(one, a_claim("a", slots=1))
    assert isinstance(await other.claim(a_claim("b", slots=1)), Refused)
    assert await fence(other, a_claim("a", slots=1)) == given, "the same order, by whatever node"
    assert await other.release(Lease("a", "provider-1/ask", MODEL, 10, given))
    await fence(one, a_claim("b", slots=1))


async def test_what_another_node_has_renewed_meanwhile_is_not_given_back(redis_url: str, open_node: OpenNode) -> None:
    (one, _), (other, _) = await open_node(redis_url, "one"), await open_node(redis_url, "other")
    given = await fence(one, a_claim("a", slots=1, lease_ms=10_000))
    lease = Lease("a", "provider-1/ask", MODEL, 10, given)
    assert await other.renew(lease, 60_000), "it has committed the same order"
    assert not await one.release(lease, unless_left_ms=10_000)
    assert isinstance(await one.claim(a_claim("b", slots=1)), Refused)
    assert await one.release(lease)
    again = await fence(one, a_claim("b", slots=1, lease_ms=10_000))
    assert await one.release(Lease("b", "provider-1/ask", MODEL, 10, again), unless_left_ms=10_000)
    await fence(other, a_claim("c", slots=1))


async def test_nothing_is_kept_of_asks_without_orders_for_ever(
    redis: RedisServer, redis_url: str, open_node: OpenNode
) -> None:
    node, _ = await open_node(redis_url)
    given = await fence(node, a_claim("a"))
    await node.release(Lease("a", "provider-1/ask", MODEL, 10, given))
    for key in redis.ask("keys", "*leases*").split():
        assert 0 < int(redis.ask("pttl", key)) <= 120_000


async def test_a_lease_that_ran_out_is_nobodys_before_it_is_asked_for(node: SharedBook) -> None:
    old = await fence(node, a_claim("a", lease_ms=1))
    await fence(node, a_claim("clock", "provider-2/ask", slots=1, lease_ms=5))

    async def time_has_passed() -> bool:
        return isinstance(await node.claim(a_claim("other", "provider-2/ask", slots=1)), Granted)

    await until_answer(time_has_passed)
    assert await node.release(Lease("a", "provider-1/ask", MODEL, 10, old - 1))
    assert await node.renew(Lease("a", "provider-1/ask", MODEL, 10, old - 1), 60_000)
