"""What holds of every shared book, on every backend."""

import pytest

from gollem.nodes import Granted, Lease, Removed, SharedBook
from tests.nodes.conftest import OpenNode
from tests.nodes.samples import MODEL, a_claim, heard, placed
from tests.until import until


@pytest.fixture(params=["memory", "redis", "cluster"])
async def node(request: pytest.FixtureRequest, open_node: OpenNode) -> SharedBook:
    url = "memory" if request.param == "memory" else request.getfixturevalue(f"{request.param}_url")
    return (await open_node(url, "alpha"))[0]


async def grant(node: SharedBook, order_id: str, **of_the_claim: int) -> Lease:
    request = a_claim(order_id, **of_the_claim)  # type: ignore[arg-type]
    answer = await node.claim(request)
    assert isinstance(answer, Granted)
    assert not answer.degraded
    return Lease(order_id, request.ask_key, MODEL, request.tokens, answer.fence)


async def test_fences_rise(node: SharedBook) -> None:
    first, second = await grant(node, "a"), await grant(node, "b")
    assert 0 < first.fence < second.fence


async def test_capacity_given_back_is_granted_again(node: SharedBook) -> None:
    lease = await grant(node, "a", slots=1)
    assert await node.release(lease)
    assert (await grant(node, "b", slots=1)).fence > lease.fence


async def test_releasing_twice_changes_nothing(node: SharedBook) -> None:
    lease = await grant(node, "a")
    assert await node.release(lease)
    assert await node.release(lease)


async def test_a_lease_is_renewed(node: SharedBook) -> None:
    assert await node.renew(await grant(node, "a"), 60_000)


async def test_a_lease_that_was_lost_is_restored_twice_to_the_same(node: SharedBook) -> None:
    lost = Lease("a", "provider-1/ask", MODEL, 10, fence=7)
    assert await node.restore([(lost, 60_000)]) == 1
    assert await node.restore([(lost, 60_000)]) == 1
    assert await node.release(lost)


async def test_asks_that_are_announced_are_its_own_until_they_are_removed(node: SharedBook) -> None:
    node.announce(placed(1))
    node.announce(heard(1))
    node.announce(placed(2))
    assert node.status().asks == 2
    node.announce(Removed(placed(1).ask_key, MODEL))
    assert node.status().asks == 1
    await until(lambda: node.status().waiting == 0)


async def test_it_knows_itself(node: SharedBook) -> None:
    (own,) = await node.nodes()
    assert (own.name, own.version, own.degraded) == ("alpha", "test", False)
    assert 0 <= own.heartbeat_age_ms < 5_000


async def test_counts_what_it_granted(node: SharedBook) -> None:
    await grant(node, "a")
    status = node.status()
    assert (status.granted, status.granted_alone, status.refused, status.degraded) == (1, 0, 0, False)


async def test_a_partition_is_the_models_for_good(node: SharedBook) -> None:
    assert node.partition_of(MODEL) == node.partition_of(MODEL)


async def test_closing_twice_does_not_matter(node: SharedBook) -> None:
    await node.close()
    await node.close()
