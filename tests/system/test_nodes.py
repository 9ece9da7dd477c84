"""A short chaos: three servers, real agents and clients; one server is killed, then Redis is emptied, under load.
`make chaos` has the long one."""

from tests.chaos.faults import REDIS_GAP_S, Fault, flush, kill_a_node
from tests.chaos.run import Plan, run

GAP_S = 2 * REDIS_GAP_S  # far above what is seen, since machines are slow at times
FAULTS = (
    Fault("kill -9 a node, start it again", kill_a_node, GAP_S, may_oversell=True),
    Fault("FLUSHALL", flush, GAP_S, may_oversell=True),
)


async def test_a_node_is_killed_and_redis_is_emptied_and_every_promise_is_kept(dynamodb_endpoint: str) -> None:
    plan = Plan(FAULTS, phase_s=1, agents=8, accounts=4, callers=40, rate=20, answer_s=0.2, abandoned=0)
    outcome = await run(plan, dynamodb_endpoint)
    assert not outcome.broken
    for row in outcome.rows:
        print(f"\n{row.fault}: longest gap {row.gap_s:.2f} s, {row.answers} answers, {row.oversold} sold beyond")
        assert row.reached, row
        assert row.answers
    assert [node.name for node in outcome.nodes] == ["node-0", "node-1", "node-2"]
    assert outcome.charged
