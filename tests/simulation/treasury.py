"""The money side: purchases, refunds, disputes, payouts and corrections, as Stripe's word of them reaches some node.

Each deed goes to any node, twice or late, and is repeated until its answer is certain; a node that gets it looks for
the key first, builds the transaction from what it reads, and posts it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from gollem.errors import CallerError, GollemError, StaleRead, WrongState
from gollem.exchange import Terms
from gollem.ledger import Hold, HoldState, Ledger, records, rules
from gollem.ledger.rules.earnings import last_due_day
from gollem.ledger.types import Record, Transaction
from tests.simulation.auditor import Auditor
from tests.simulation.network import Network
from tests.simulation.node import Node
from tests.simulation.world import Unheard, World

CENT = 10**9
_DAY_MS = 86_400_000
_CAP = 10**12
_Build = Callable[[Ledger, int], Awaitable[Transaction]]


class Treasury:
    def __init__(
        self, world: World, network: Network, auditor: Auditor, users: Sequence[str], providers: Sequence[str]
    ) -> None:
        self._world = world
        self._network = network
        self._auditor = auditor
        self._users = users
        self._providers = providers
        self._bought: list[tuple[str, str, int]] = []
        self.under_way = 0

    async def run(self) -> None:
        """Act as long as users do."""
        flows = (
            self.buy,
            self.refund,
            self.dispute,
            self.pay_out,
            self.correct,
            self.claw_back,
            self.freeze,
            self.meter,
        )
        await asyncio.gather(*(self._register(provider) for provider in self._providers))
        while self._world.steps_left > 0:
            flow = self._world.dice.choices(flows, (6, 4, 2, 6, 3, 1, 1, 4))[0]
            self._world.loop.create_task(self._counted(flow()))
            await asyncio.sleep(self._world.dice.expovariate(4.0))

    async def finish(self) -> None:
        """Drive to its end whatever is still under way, as a poller would."""
        for payout in await self._listed(records.PAYOUT, "INITIATED", "TRANSFERRED", "FAILED"):
            await self._end_payout(payout.id, payout.text("provider"), payout.number("attempt"))
        for refund in await self._listed(records.REFUND, "INITIATED"):
            await self._refund_ok(refund.id)
        for dispute in await self._listed(records.DISPUTE, "WITHDRAWN"):
            await self._write_off(dispute.id, dispute.text("user"), dispute.number("amount_atoms"))
        for provider in self._providers:
            await self._mature(provider)

    # --- flows ------------------------------------------------------------------------------------------------------

    async def buy(self) -> None:
        world, user = self._world, self._world.dice.choice(self._users)
        purchase, cents = world.new_id("pu"), world.dice.randrange(100, 300)

        async def created(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.purchase_created(purchase, user, cents, now_ms)

        async def paid(ledger: Ledger, now_ms: int) -> Transaction:
            bought = await _record(ledger, records.PURCHASE, purchase)
            debt = await _debt(ledger, user)
            return rules.purchase(bought, f"pi-{purchase}", cents, "usd", debt, now_ms)

        if await self._do(f"purchase_created:{purchase}", "nothing", {}, created) and await self._do(
            f"purchase:pi-{purchase}", "purchase", {"user": user, "atoms": cents * CENT}, paid
        ):
            self._bought.append((purchase, user, cents))
            await self._stripe_fee(world.new_id("fee"), world.dice.randrange(1, 50) * CENT)

    async def refund(self) -> None:
        if not self._bought:
            return
        world = self._world
        purchase, user, cents = world.dice.choice(self._bought)
        refund, atoms = world.new_id("rf"), world.dice.randrange(1, cents) * CENT

        async def asked(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.refund_initiated(refund, await _record(ledger, records.PURCHASE, purchase), atoms, now_ms)

        async def failed(ledger: Ledger, now_ms: int) -> Transaction:
            bought = await _record(ledger, records.PURCHASE, purchase)
            return rules.refund_failed(await _record(ledger, records.REFUND, refund), bought, f"no-{refund}", now_ms)

        figures = {"refund": refund, "purchase": purchase, "user": user, "atoms": atoms, "bought": cents * CENT}
        if not await self._do(f"rf_init:{refund}", "refund_asked", figures, asked):
            return
        if world.chance(0.7):
            await self._refund_ok(refund)
        if world.chance(0.4):
            figures = {"refund": refund, "purchase": purchase, "user": user}
            await self._do(f"rf_fail:no-{refund}", "refund_failed", figures, failed)

    async def dispute(self) -> None:
        if not self._bought:
            return
        world = self._world
        _, user, cents = world.dice.choice(self._bought)
        dispute, atoms, fee = (
            world.new_id("dp"),
            cents * CENT * world.dice.choice((1, 1, 4)),
            world.dice.choice((0, 1_500)) * CENT,
        )

        async def withdrawn(ledger: Ledger, now_ms: int) -> Transaction:
            available = await ledger.account_atoms(f"U:{user}")
            freezes = await ledger.find_record(records.FREEZES, user)
            return rules.dispute_withdrawn(dispute, f"t-{dispute}", user, atoms, fee, available, freezes, now_ms)

        figures = {"dispute": dispute, "user": user, "atoms": atoms, "fee": fee}
        if not await self._do(f"stripe:t-{dispute}", "dispute_lost_money", figures, withdrawn):
            return
        await asyncio.sleep(world.dice.uniform(0, 2))
        ends = [self._reinstate, self._write_off] if world.chance(0.3) else [self._reinstate]
        if world.chance(0.8):
            await asyncio.gather(*(end(dispute, user, atoms) for end in ends))
        await self._unfreeze(rules.dispute_freeze(dispute), user)

    async def pay_out(self) -> None:
        world, provider = self._world, self._world.dice.choice(self._providers)
        await self._mature(provider)
        payout = world.new_id("po")
        atoms = self._auditor.read("provider_balance", provider).payable_atoms // CENT * CENT
        atoms = world.dice.choice((atoms, atoms, CENT))

        async def asked(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.payout_initiated(payout, await _record(ledger, records.PROVIDER, provider), atoms, now_ms)

        figures = {"payout": payout, "provider": provider, "atoms": atoms}
        if atoms and await self._do(f"po_init:{payout}", "payout_asked", figures, asked) and world.chance(0.9):
            await self._end_payout(payout, provider, 0)

    async def claw_back(self) -> None:
        dice, provider = self._world.dice, self._world.dice.choice(self._providers)
        case, atoms = self._world.new_id("case"), dice.randrange(1, 2 * 10**10)
        user = dice.choice(("", dice.choice(self._users)))

        async def clawed(ledger: Ledger, now_ms: int) -> Transaction:
            payable = (await ledger.provider_balance(provider)).payable_atoms
            return rules.clawback(case, provider, atoms, payable, now_ms, user)

        await self._do(f"claw:{case}", "clawback", {"provider": provider, "atoms": atoms, "user": user}, clawed)

    async def correct(self) -> None:
        """An adjustment by two people, or money at Stripe that nobody knows at first."""
        world, dice, user = self._world, self._world.dice, self._world.dice.choice(self._users)
        name, atoms = world.new_id("fix"), dice.choice((-1, 1)) * dice.randrange(1, 30) * CENT
        first, then = dice.choice(((self._propose, self._approve), (self._unmatched, self._resolve)))
        if await first(name, user, atoms):
            await then(name, user, atoms)

    async def freeze(self) -> None:
        user, name = self._world.dice.choice(self._users), self._world.new_id("fz")

        async def frozen(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.user_frozen(name, user, await ledger.find_record(records.FREEZES, user), now_ms)

        await self._do(f"freeze:{name}", "freeze", {"user": user, "freeze": name}, frozen)
        await asyncio.sleep(self._world.dice.uniform(0, 2))
        await self._unfreeze(name, user)

    async def meter(self) -> None:
        """A long order that is settled by parts: then closed, twice over, or left to the sweepers."""
        world, user = self._world, self._world.dice.choice(self._users)
        order_id, provider = world.new_id("m"), world.dice.choice(self._providers)
        atoms = world.dice.randrange(1_000, 10**10)
        charge = atoms // 4

        async def held(ledger: Ledger, now_ms: int) -> Transaction:
            hold = Hold(order_id, user, provider, atoms, now_ms, now_ms + 3_000, _terms(provider))
            return rules.hold(hold, "metered", now_ms)

        figures = {"user": user, "order_id": order_id, "atoms": atoms}
        if not await self._do(f"hold:{order_id}", "hold", figures, held):
            return
        for number in range(world.dice.randrange(3)):
            await self._part(order_id, provider, charge, number)
        ends = world.dice.choice(((self._settle,), (self._void,), (self._settle, self._void), ()))
        await asyncio.gather(*(end(figures, provider, charge) for end in ends))

    # --- deeds ------------------------------------------------------------------------------------------------------

    async def _part(self, order_id: str, provider: str, charge: int, number: int) -> None:
        async def part(ledger: Ledger, now_ms: int) -> Transaction:
            hold = await _open_hold(ledger, order_id)
            if hold.sequence != number:
                raise StaleRead("another part")
            return rules.partial_settle(hold, charge, charge * 5 // 100, now_ms)

        figures = {"order_id": order_id, "provider": provider, "charge": charge, "fee": charge * 5 // 100}
        await self._do(f"psettle:{order_id}:{number + 1}", "part", figures, part)

    async def _settle(self, order: dict[str, Any], provider: str, charge: int) -> None:
        async def settled(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.settle(await _open_hold(ledger, order["order_id"]), charge, charge * 5 // 100, now_ms)

        figures = {**order, "provider": provider, "charge": charge, "fee": charge * 5 // 100}
        await self._do(f"settle:{order['order_id']}", "settle", figures, settled)

    async def _void(self, order: dict[str, Any], provider: str, charge: int) -> None:
        async def voided(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.void(await _open_hold(ledger, order["order_id"]), now_ms)

        await self._do(f"void:{order['order_id']}", "void", order, voided)

    async def _register(self, provider: str) -> None:
        async def registered(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.provider_registered(provider, f"acct-{provider}", True, now_ms)

        await self._do(f"provider:{provider}:0", "nothing", {}, registered)

    async def _stripe_fee(self, name: str, atoms: int) -> None:
        async def taken(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.stripe_fee(name, atoms, now_ms)

        await self._do(f"stripe:{name}", "stripe_fee", {"atoms": atoms}, taken)

    async def _refund_ok(self, refund: str) -> None:
        async def succeeded(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.refund_succeeded(await _record(ledger, records.REFUND, refund), f"re-{refund}", now_ms)

        await self._do(f"rf_ok:re-{refund}", "refund_ok", {"refund": refund}, succeeded)

    async def _reinstate(self, dispute: str, user: str, atoms: int) -> None:
        async def reinstated(ledger: Ledger, now_ms: int) -> Transaction:
            found = await _record(ledger, records.DISPUTE, dispute)
            available, debt = await ledger.account_atoms(f"U:{user}"), await _debt(ledger, user)
            freezes = await ledger.find_record(records.FREEZES, user)
            return rules.dispute_reinstated(found, f"w-{dispute}", atoms, available, debt, freezes, now_ms)

        figures = {"dispute": dispute, "user": user, "atoms": atoms}
        await self._do(f"stripe:w-{dispute}", "dispute_won", figures, reinstated)

    async def _write_off(self, dispute: str, user: str, atoms: int) -> None:
        async def written_off(ledger: Ledger, now_ms: int) -> Transaction:
            found = await _record(ledger, records.DISPUTE, dispute)
            return rules.write_off(found, "eve", await _debt(ledger, user), now_ms)

        figures = {"dispute": dispute, "user": user, "atoms": atoms}
        await self._do(f"writeoff:{dispute}", "dispute_written_off", figures, written_off)

    async def _unfreeze(self, name: str, user: str) -> None:
        async def unfrozen(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.user_unfrozen(name, user, await ledger.find_record(records.FREEZES, user), now_ms)

        await self._do(f"unfreeze:{name}", "unfreeze", {"user": user, "freeze": name}, unfrozen)

    async def _mature(self, provider: str) -> None:
        """Everything of the provider's as if two days had passed: earnings may still come in while it happens."""
        now_ms = self._auditor.now_ms() + 2 * _DAY_MS
        for earned in self._auditor.read("due_earnings", last_due_day(now_ms, 1)):
            if earned.provider == provider:
                await self._mature_day(provider, earned.day, now_ms)

    async def _mature_day(self, provider: str, day: str, now_ms: int) -> None:
        part = 0
        while self._auditor.read("find_entry", f"mature:{provider}:{day}" + (f":{part}" if part else "")):
            part += 1

        async def matured(ledger: Ledger, _: int) -> Transaction:
            due = await ledger.due_earnings(last_due_day(now_ms, 1))
            found = next((each for each in due if (each.provider, each.day) == (provider, day)), None)
            if found is None:
                raise WrongState("nothing is due")
            debt = (await ledger.provider_balance(provider)).debt_atoms
            return rules.mature(found, debt, 1, now_ms, part)

        key = f"mature:{provider}:{day}" + (f":{part}" if part else "")
        await self._do(key, "mature", {"provider": provider}, matured)

    async def _end_payout(self, payout: str, provider: str, attempt: int) -> None:
        """To the bank, by ways that go wrong; what contradicts what was before is refused."""
        dice = self._world.dice
        ways = [("sent", "cancelled"), ("sent",), ("sent",), ("cancelled",)]
        await asyncio.gather(*(self._payout(payout, provider, attempt, way) for way in dice.choice(ways)))
        if self._world.chance(0.3):
            await self._payout(payout, provider, attempt, "paid")
            await self._payout(payout, provider, attempt, "failed")
            attempt += 1
        await self._payout(payout, provider, attempt, dice.choice(("paid", "paid", "reversed")))

    async def _payout(self, payout: str, provider: str, attempt: int, way: str) -> None:
        keys = {
            "sent": f"po_tr:tr-{payout}",
            "cancelled": f"po_cancel:{payout}",
            "paid": f"po_paid:b-{payout}:{attempt}",
            "failed": f"po_fail:b-{payout}:{attempt}",
            "reversed": f"trr:r-{payout}",
        }

        async def moved(ledger: Ledger, now_ms: int) -> Transaction:
            found = await _record(ledger, records.PAYOUT, payout)
            match way:
                case "sent":
                    return rules.payout_transferred(found, f"tr-{payout}", now_ms)
                case "cancelled":
                    return rules.payout_cancelled(found, now_ms)
                case "paid":
                    return rules.payout_paid(found, f"b-{payout}", attempt, now_ms)
                case "failed":
                    return rules.payout_failed(found, f"b-{payout}", attempt, now_ms)
            return rules.payout_reversed(found, f"r-{payout}", now_ms)

        await self._do(keys[way], f"payout_{way}", {"payout": payout, "provider": provider}, moved)

    async def _propose(self, name: str, user: str, atoms: int) -> bool:
        async def proposed(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.adjustment_proposed(name, f"U:{user}", atoms, "correction", "adam", now_ms)

        return await self._do(f"adj_proposed:{name}", "nothing", {}, proposed)

    async def _approve(self, name: str, user: str, atoms: int) -> bool:
        who = self._world.dice.choice(("eve", "eve", "adam"))

        async def approved(ledger: Ledger, now_ms: int) -> Transaction:
            proposal = await _record(ledger, records.ADJUSTMENT, name)
            day = last_due_day(now_ms + _DAY_MS, 1)
            today = await ledger.find_record(records.ADJUSTED_DAY, day)
            return rules.adjustment_approved(proposal, who, today, _CAP, now_ms)

        done = await self._do(f"adj:{name}", "adjustment", {"user": user, "atoms": atoms}, approved)
        self._world.expect(not (done and who == "adam"), name, "was approved by whoever proposed it")
        return done

    async def _unmatched(self, name: str, user: str, atoms: int) -> bool:
        async def found(ledger: Ledger, now_ms: int) -> Transaction:
            return rules.unmatched(name, atoms, now_ms)

        return await self._do(f"stripe:{name}", "unmatched", {"atoms": atoms}, found)

    async def _resolve(self, name: str, user: str, atoms: int) -> bool:
        async def resolved(ledger: Ledger, now_ms: int) -> Transaction:
            movement = await _record(ledger, records.UNMATCHED, name)
            return rules.unmatched_resolved(movement, f"U:{user}", "eve", now_ms)

        return await self._do(f"resolved:{name}", "resolved", {"user": user, "atoms": atoms}, resolved)

    # --- how a deed is done -----------------------------------------------------------------------------------------

    async def _do(self, key: str, kind: str, figures: dict[str, Any], build: _Build) -> bool:
        """Until it is certain whether it was done."""
        deed = self._auditor.deed(key, kind, figures)

        async def work(node: Node) -> None:
            await _carry_out(node, key, build)

        while True:
            try:
                await self._network.call(self._network.any_node(), key, work)
            except CallerError:
                return False
            except (Unheard, GollemError):
                await asyncio.sleep(self._world.dice.uniform(0.05, 1.0))
                continue
            deed.certain = True
            return True

    async def _counted(self, flow: Awaitable[None]) -> None:
        self.under_way += 1
        await flow
        self.under_way -= 1

    async def _listed(self, kind: str, *states: str) -> list[Record]:
        return [record for state in states for record in self._auditor.read("records", kind, state)]


async def _carry_out(node: Node, key: str, build: _Build) -> None:
    """At the node. A stale read is read again, some times."""
    for last_try in (False, False, False, True):
        if await node.ledger.find_entry(key):
            return
        try:
            await node.ledger.post(await build(node.ledger, node.clock.now_ms()))
        except StaleRead:
            if last_try:
                raise
        else:
            return


async def _record(ledger: Ledger, kind: str, record_id: str) -> Record:
    found = await ledger.find_record(kind, record_id)
    if found is None:
        raise WrongState(f"{kind} {record_id} is not there")
    return found


async def _open_hold(ledger: Ledger, order_id: str) -> Hold:
    hold = await ledger.find_hold(order_id)
    if hold is None or hold.state is not HoldState.OPEN:
        raise WrongState(f"{order_id} is not open")
    return hold


def _terms(provider: str) -> str:
    """Of an ask that no book has."""
    figures = dict.fromkeys(Terms.__slots__, 1)
    names = {"provider_id": provider, "ask_id": "metered", "model": "gpt-4", "gpu_type": "h100", "endpoint": ""}
    return Terms(**{**figures, **names}).to_text()  # type: ignore[arg-type]


async def _debt(ledger: Ledger, user: str) -> int:
    return -await ledger.account_atoms(f"D:{user}")
