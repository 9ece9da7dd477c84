"""An account's rate over several nodes: once in all, and fairly spread, as far as they have heard of each other."""

import random

import pytest

from gollem.identity import RateLimiter
from tests.fakes.clock import FakeClock

RATE, BURST, HEARTBEAT_MS, STEP_MS = 100, 200, 1_000, 10


class Nodes:
    """Limiters over one clock that tell each other, each at a moment of its own, `late_ms` late."""

    def __init__(self, count: int, late_ms: int = 100, rate: int = RATE, burst: int = BURST) -> None:
        self.clock = FakeClock()
        self.limiters = [RateLimiter(rate, burst, self.clock) for _ in range(count)]
        self.late_ms = late_ms
        self.now_ms = 0
        self.on_way: list[tuple[int, int, list[object]]] = []
        self.admitted = [0] * count

    def step(self) -> None:
        self.clock.advance_ms(STEP_MS)
        self.now_ms += STEP_MS
        for at, limiter in enumerate(self.limiters):
            if (self.now_ms + at * 70) % HEARTBEAT_MS == 0:
                self.on_way.append((self.now_ms + self.late_ms, at, list(limiter.share())))
        for due_ms, sender, uses in list(self.on_way):
            if due_ms <= self.now_ms:
                self.on_way.remove((due_ms, sender, uses))
                for at, limiter in enumerate(self.limiters):
                    for use in uses if at != sender else ():
                        limiter.heard(use)  # type: ignore[arg-type]

    def ask(self, at: int, times: int = 1, account: str = "alice") -> None:
        self.admitted[at] += sum(self.limiters[at].spend(account) == 0 for _ in range(times))

    def run(self, for_ms: int, per_step: list[int]) -> list[int]:
        """So many calls at each node each step; returns how many each admitted."""
        before = list(self.admitted)
        for _ in range(for_ms // STEP_MS):
            self.step()
            for at, times in enumerate(per_step):
                self.ask(at, times)
        return [now - then for now, then in zip(self.admitted, before, strict=True)]


def test_a_node_alone_gives_the_rate_and_the_burst() -> None:
    nodes = Nodes(1)
    assert sum(nodes.run(10_000, [5])) == pytest.approx(BURST + 10 * RATE, abs=2)
    assert 0 < nodes.limiters[0].spend("alice") <= 10


@pytest.mark.parametrize("count", [2, 3, 10])
def test_all_nodes_together_give_the_rate(count: int) -> None:
    """And at once, before they have heard of each other, at most the burst and two heartbeats' calls on each."""
    nodes = Nodes(count)
    first = sum(nodes.run(60_000, [5] * count))
    unheard = count * (BURST + 2 * RATE * HEARTBEAT_MS // 1_000)
    assert first <= 60 * RATE + BURST + unheard
    settled = nodes.run(60_000, [5] * count)
    assert sum(settled) == pytest.approx(60 * RATE, rel=0.05)
    assert min(settled) > 0.7 * max(settled), settled


def test_bursts_at_all_nodes_are_paid_back() -> None:
    """Somebody who waits until the buckets are full, and empties all of them, again and again."""
    nodes, rounds = Nodes(5), 40
    for _ in range(rounds):
        for at in range(5):
            nodes.ask(at, BURST)
        nodes.run(BURST * 1_000 // RATE, [0] * 5)
    seconds = rounds * BURST / RATE
    assert sum(nodes.admitted) <= seconds * RATE + BURST + 5 * (BURST + 2 * RATE)


def test_no_moment_is_without_service() -> None:
    """It is not that all nodes serve in one second and none in the next."""
    nodes = Nodes(4)
    nodes.run(30_000, [5] * 4)
    seconds = [sum(nodes.run(1_000, [5] * 4)) for _ in range(20)]
    assert min(seconds) > 0.5 * RATE, seconds
    assert max(seconds) < 1.6 * RATE, seconds


def test_who_moves_to_another_node_has_its_rate_there() -> None:
    nodes = Nodes(2)
    nodes.run(20_000, [5, 0])
    nodes.run(4_000, [0, 5])
    assert sum(nodes.run(10_000, [0, 5])) == pytest.approx(10 * RATE, rel=0.1)


def test_busy_here_and_quiet_there_is_shared_by_what_is_asked() -> None:
    nodes = Nodes(2)
    nodes.run(20_000, [9, 1])
    here, there = nodes.run(20_000, [9, 1])
    assert here + there == pytest.approx(20 * RATE, rel=0.1)
    assert here > 4 * there > 0


def test_what_others_leave_may_be_had() -> None:
    """Who asks for less than the rate is refused nothing, wherever it asks."""
    nodes = Nodes(3)
    taken = nodes.run(20_000, [0, 0, 0])
    for _ in range(600):
        nodes.step()
        if nodes.now_ms % 100 == 0:
            for at in range(3):
                nodes.ask(at, 3)  # 90 a second in all
    taken = nodes.admitted
    assert sum(taken) == 60 * 9, taken


def test_a_node_that_died_leaves_its_part() -> None:
    nodes = Nodes(3)
    nodes.run(20_000, [5, 5, 5])
    nodes.limiters.pop()
    nodes.admitted.pop()
    nodes.run(5_000, [5, 5])
    assert sum(nodes.run(20_000, [5, 5])) == pytest.approx(20 * RATE, rel=0.05)


def test_little_is_told_late_and_much_of_many_in_turns() -> None:
    clock = FakeClock()
    limiter = RateLimiter(1_000, 2_000, clock)
    for _ in range(9):
        limiter.spend("quiet")
    for number in range(1_500):
        for _ in range(10):
            limiter.spend(f"busy-{number}")
    first, second = limiter.share(), limiter.share()
    assert (len(first), len(second)) == (1_000, 500)
    assert {use.calls for use in (*first, *second)} == {10}
    limiter.spend("quiet")
    assert [(use.account, use.calls, use.asked) for use in limiter.share()] == [("quiet", 10, 10)]
    assert limiter.share() == []


def test_a_crowd_is_looked_at_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gollem.identity.rate_limit._LOOKED_AT_ONCE", 4)
    limiter = RateLimiter(RATE, BURST, FakeClock())
    for number in range(10):
        limiter.spend(f"user-{number}")
    rounds = [[use.account for use in limiter.share()] for _ in range(4)]
    assert [len(told) for told in rounds] == [4, 4, 2, 0]
    assert len({account for told in rounds for account in told}) == 10


def test_nonsense_of_other_nodes_shuts_nobody_out_for_long() -> None:
    nodes = Nodes(2)
    dice = random.Random(7)
    use = RateLimiter(RATE, BURST, nodes.clock)
    use.spend("alice")
    (told,) = use.share()
    for _ in range(20):
        nodes.limiters[0].heard(type(told)("alice", dice.choice((-5, 10**12)), dice.choice((-5, 10**12))))
    nodes.run(63_000, [0, 0])
    assert nodes.limiters[0].spend("alice") == 0


def test_accounts_are_forgotten_before_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gollem.identity.rate_limit._ACCOUNTS_KEPT", 10)
    limiter = RateLimiter(RATE, BURST, FakeClock())
    for number in range(50):
        limiter.spend(f"user-{number}")
    assert (len(limiter._buckets), len(limiter._stirred)) == (10, 10)
