"""Claims, releases, renewals and time in any order, against a few lines of Python that say what Redis must answer.

Time is real in Redis, so a lease either outlasts the test or has run out by the next step: nothing in between is asked.
"""

import asyncio
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gollem.clock import SystemClock
from gollem.config import NodesConfig
from gollem.nodes import ClaimRequest, Granted, Lease, Refused, SharedBook, open_shared_book
from tests.nodes.samples import MODEL, Recorder
from tests.servers.redis_server import RedisServer, wait_for

SLOTS, TOKENS, ASK = 3, 100, "provider-1/ask"
ORDERS = st.sampled_from("abcdef")
LONG_MS, SHORT_MS = 600_000, 1


@dataclass
class Held:
    tokens: int
    fence: int


class ClaimsMachine(RuleBasedStateMachine):
    """One ask, six orders."""

    redis: RedisServer

    @initialize()
    def begin(self) -> None:
        self.redis.ask("flushall")
        self.held: dict[str, Held] = {}
        self.fences: dict[str, int] = {}
        self.last_fence = 0
        self.runner = asyncio.Runner()
        config = NodesConfig(
            book=f"redis://127.0.0.1:{self.redis.port}", name="model", partitions=1, claim_timeout_ms=5_000
        )
        self.node: SharedBook = open_shared_book(config, "test", SystemClock())
        self.runner.run(self.node.start(Recorder()))

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(self.node.close())
            self.runner.close()

    @rule(order=ORDERS, tokens=st.integers(1, 60), runs_out=st.booleans())
    def claim(self, order: str, tokens: int, runs_out: bool) -> None:
        runs_out = runs_out and order not in self.held
        request = ClaimRequest(order, ASK, MODEL, tokens, SHORT_MS if runs_out else LONG_MS, TOKENS, SLOTS)
        answer = self.runner.run(self.node.claim(request))
        if order in self.held:
            assert answer == Granted(self.held[order].fence)
        elif tokens > self.free_tokens or self.free_slots < 1:
            assert answer == Refused(max(self.free_tokens, 0), max(self.free_slots, 0))
        else:
            assert isinstance(answer, Granted)
            assert answer.fence > self.last_fence
            self.last_fence = self.fences[order] = answer.fence
            if runs_out:
                self.let_it_run_out()
            else:
                self.held[order] = Held(tokens, answer.fence)

    @rule(order=ORDERS, is_stale=st.booleans())
    def release(self, order: str, is_stale: bool) -> None:
        lease = self.lease(order, is_stale)
        done = self.runner.run(self.node.release(lease))
        held = self.held.get(order)
        assert done == (held is None or held.fence == lease.fence)
        if held is not None and done:
            del self.held[order]

    @rule(order=ORDERS, is_stale=st.booleans())
    def renew(self, order: str, is_stale: bool) -> None:
        lease = self.lease(order, is_stale)
        done = self.runner.run(self.node.renew(lease, LONG_MS))
        assert done == (order not in self.held or self.held[order].fence <= lease.fence)
        if done:
            self.held[order] = Held(lease.tokens, lease.fence)
            self.fences[order] = lease.fence
            self.last_fence = max(self.last_fence, lease.fence)

    @rule()
    def lose_everything(self) -> None:
        self.redis.ask("flushall")
        self.held.clear()
        self.last_fence = max(self.fences.values(), default=0)

    @invariant()
    def fences_differ(self) -> None:
        fences = [held.fence for held in getattr(self, "held", {}).values()]
        assert len(set(fences)) == len(fences)

    @property
    def free_slots(self) -> int:
        return SLOTS - len(self.held)

    @property
    def free_tokens(self) -> int:
        return TOKENS - sum(held.tokens for held in self.held.values())

    def lease(self, order: str, is_stale: bool) -> Lease:
        held = self.held.get(order)
        if held is None:
            self.last_fence += 1
            return Lease(order, ASK, MODEL, 10, self.last_fence)
        return Lease(order, ASK, MODEL, held.tokens, held.fence - is_stale)

    def let_it_run_out(self) -> None:
        """Until Redis's own clock is past the lease."""
        given_us = self.redis_us()
        wait_for(lambda: self.redis_us() > given_us + 1_000 * (SHORT_MS + 1), "a few milliseconds")

    def redis_us(self) -> int:
        seconds, micros = self.redis.ask("time").split()
        return int(seconds) * 1_000_000 + int(micros)


def test_leases_are_what_the_model_says(redis: RedisServer) -> None:
    machine = type("Machine", (ClaimsMachine,), {"redis": redis})
    chosen = settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=chosen)  # type: ignore[no-untyped-call]
