"""The copy of the seals outside of the store: complete after any crash, and no alarm where nobody tampered."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gollem.errors import OutcomeUnknown
from gollem.ledger import Check, Ledger, Posted, Reconciler, Transaction, open_ledger, records, rules, seals
from gollem.ledger.memory import MemoryLedger
from tests.contracts.samples import DAY_MS, NOW_MS, granting
from tests.fakes.clock import FakeClock

R9 = frozenset({Check.SEALS})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW_MS)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "seals"


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    opened = await open_ledger("memory:")
    await opened.post(granting(100))
    yield opened
    await opened.close()


async def seal_days(watch: Reconciler, clock: FakeClock, count: int) -> None:
    for _ in range(count):
        clock.advance_ms(DAY_MS)
        await watch.seal()


async def findings(watch: Reconciler) -> list[str]:
    (result,) = await watch.look(R9)
    return list(result.findings)


def days(copy: Path) -> list[str]:
    return [one.id for one in seals.read_copies(copy)]


async def sealed(ledger: Ledger) -> list[str]:
    return [one.id for one in await seals.all_seals(ledger)]


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


async def test_copy_that_could_not_be_written_is_made_up_for(
    ledger: Ledger, clock: FakeClock, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the seal and its copy is the same: the next sealing finds the seal without a line."""
    watch = Reconciler(ledger, clock, seal_copy=copy)
    await seal_days(watch, clock, 2)
    with monkeypatch.context() as disk:
        disk.setattr(seals, "write_copy", full_disk)
        await seal_days(watch, clock, 1)
    assert len(days(copy)) == 2
    await watch.seal()  # nothing is left to seal that day
    assert days(copy) == await sealed(ledger)
    await seal_days(watch, clock, 2)

    assert len(days(copy)) == 5
    assert await findings(watch) == []
    assert await ledger.find_record(records.BREAKER, records.PAYOUTS) is None


class Silent(MemoryLedger):
    """The answer to its next seal is lost."""

    loses = False

    async def post(self, transaction: Transaction) -> Posted:
        posted = await super().post(transaction)
        if self.loses and transaction.key.startswith("reconciled:seal:"):
            self.loses = False
            raise OutcomeUnknown("lost")
        return posted


async def test_seal_whose_answer_was_lost_gets_its_copy(clock: FakeClock, copy: Path) -> None:
    ledger = Silent()
    watch = Reconciler(ledger, clock, seal_copy=copy)
    await seal_days(watch, clock, 1)
    ledger.loses = True
    with pytest.raises(OutcomeUnknown):
        await seal_days(watch, clock, 1)
    await watch.seal()

    assert days(copy) == await sealed(ledger)
    assert len(days(copy)) == 2


@pytest.mark.parametrize("left", [1, 20, -1])
async def test_line_that_was_cut_off_counts_as_missing(ledger: Ledger, clock: FakeClock, copy: Path, left: int) -> None:
    """Of the last line only a part was written, perhaps all but its end."""
    watch = Reconciler(ledger, clock, seal_copy=copy)
    await seal_days(watch, clock, 3)
    *whole, last = copy.read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join(whole) + last[:left])
    await seal_days(watch, clock, 1)

    assert days(copy) == await sealed(ledger)
    assert await findings(watch) == []


async def test_two_servers_have_a_whole_copy_each(ledger: Ledger, clock: FakeClock, tmp_path: Path) -> None:
    one, other = (Reconciler(ledger, clock, seal_copy=tmp_path / name) for name in ("one", "other"))
    for first, second in ((one, other), (other, one), (one, other)):
        clock.advance_ms(DAY_MS)
        await first.seal()
        await second.seal()

    assert days(tmp_path / "one") == days(tmp_path / "other") == await sealed(ledger)
    assert await findings(one) == await findings(other) == []


async def test_two_servers_may_share_a_copy(ledger: Ledger, clock: FakeClock, copy: Path) -> None:
    one, other = (Reconciler(ledger, clock, seal_copy=copy) for _ in range(2))
    await seal_days(one, clock, 2)
    seals.write_copy(copy, await seals.all_seals(ledger))  # both found the same missing

    assert await findings(other) == []


async def test_missing_line_is_told_apart_from_tampering_and_added(
    ledger: Ledger, clock: FakeClock, copy: Path
) -> None:
    watch = Reconciler(ledger, clock, seal_copy=copy)
    await seal_days(watch, clock, 4)
    first, second, *rest = copy.read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join([first, *rest]))

    day = json.loads(second)["day"]
    assert await findings(watch) == [f"seal {day}: has no line in the copy, which the next sealing adds"]
    await watch.seal()
    assert await findings(watch) == []
    assert sorted(days(copy)) == await sealed(ledger)


async def test_copy_that_stays_behind_is_found(
    ledger: Ledger, clock: FakeClock, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One seal may be on its way; two are not."""
    monkeypatch.setattr(seals, "write_copy", full_disk)
    watch = Reconciler(ledger, clock, seal_copy=copy)
    await seal_days(watch, clock, 1)
    assert await findings(watch) == []
    await seal_days(watch, clock, 1)
    assert len(await findings(watch)) == 1


async def test_nothing_is_added_to_seals_that_were_changed(ledger: Ledger, clock: FakeClock, copy: Path) -> None:
    """A line is gone, and another is not what the books say: who did both gets no help."""
    watch = Reconciler(ledger, clock, seal_copy=copy)
    await seal_days(watch, clock, 4)
    first, _, third, fourth = copy.read_bytes().splitlines(keepends=True)
    chain = json.loads(third)["chain"]
    copy.write_bytes(first + third.replace(chain.encode(), b"0" * len(chain)) + fourth)
    before = copy.read_bytes()

    assert len(await findings(watch)) == 2
    clock.advance_ms(DAY_MS)
    await watch.seal()
    assert copy.read_bytes() == before
    breaker = await ledger.find_record(records.BREAKER, records.PAYOUTS)
    assert breaker
    assert breaker.state == "HALTED"


async def test_line_added_to_cover_another_is_found(ledger: Ledger, clock: FakeClock, copy: Path) -> None:
    """Of two lines about a day both have to be right."""
    watch = Reconciler(ledger, clock, seal_copy=copy)
    await seal_days(watch, clock, 2)
    true = copy.read_bytes().splitlines(keepends=True)[0]
    chain = json.loads(true)["chain"]
    copy.write_bytes(true.replace(chain.encode(), b"0" * len(chain)) + copy.read_bytes())

    assert await findings(watch) == [f"seal {json.loads(true)['day']}: is not what its copy says"]


async def test_copy_kept_since_later_gets_all_that_came_before(ledger: Ledger, clock: FakeClock, copy: Path) -> None:
    await seal_days(Reconciler(ledger, clock), clock, 3)
    await ledger.post(rules.grant("later", "bob", 1, clock.now_ms()))
    await seal_days(Reconciler(ledger, clock, seal_copy=copy), clock, 1)

    assert days(copy) == await sealed(ledger)
