"""Knows what was asked and what was answered, reckons what must follow, and compares it with what can be read.

It takes nothing from the ledger's rules. A call whose answer never came may have happened or not; a final read tells
which, and then it must have happened exactly as asked.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from gollem.errors import Forbidden, HoldClosed, KeyReused, OrderMismatch, UnknownOrder
from gollem.exchange import Cancelled, CancelState, Matched, Outcome, Receipt, Usage
from gollem.market import Ask, Bid
from tests.simulation.arithmetic import Parts, cost, parts
from tests.simulation.books import Books, Deed
from tests.simulation.loop import Process
from tests.simulation.node import EXCHANGE, Node
from tests.simulation.redis.link import Link
from tests.simulation.rooms import Rooms
from tests.simulation.store import SharedStore
from tests.simulation.world import EPOCH_MS, World, run_now

UNSURE, REFUSED, DONE = "unsure", "refused", "done"


@dataclass
class Command:
    """One call, and what its caller knows of it."""

    order_id: str
    asked: Any
    state: str = UNSURE
    after_match: bool = False


@dataclass
class Order:
    user: str
    matches: list[Command] = field(default_factory=list)
    settles: list[Command] = field(default_factory=list)
    first: Matched | None = None
    fresh: int = 0
    cancelling: bool = False


class Auditor:
    def __init__(self, world: World, store: SharedStore) -> None:
        self._world = world
        self._store = store
        self.nodes: list[Node] = []
        self.users: list[str] = []
        self.providers: list[str] = []
        self.rooms: Rooms | None = None
        self.orders: dict[str, Order] = {}
        self.deeds: dict[str, Deed] = {}
        self._told: dict[str, list[tuple[str, float]]] = {}
        self._prices: dict[str, set[tuple[int, int]]] = {}
        self._matching: Counter[tuple[str, str]] = Counter()
        self._late: set[tuple[str, str]] = set()
        self._claimed: list[tuple[Process, Node, str]] = []
        self._healed_s = float("inf")

    def read(self, name: str, *args: Any) -> Any:
        """A read of the shared ledger, past every fault."""
        return run_now(getattr(self._store.ledger, name)(*args))

    # --- what was asked and answered --------------------------------------------------------------------------------

    def priced(self, ask: Ask) -> None:
        self._prices.setdefault(ask.key, set()).add((ask.price_ticks, ask.completion_price_ticks))
        if self.rooms:
            self.rooms.sells(ask)

    def deed(self, key: str, kind: str, figures: dict[str, Any]) -> Deed:
        """Something is asked for, perhaps again; whoever hears that it was done marks it certain."""
        return self.deeds.setdefault(key, Deed(key, kind, figures))

    def now_ms(self) -> int:
        """What a clock would show that is right."""
        return EPOCH_MS + int(self._world.loop.time() * 1_000)

    def match_sent(self, order_id: str, user: str, bid: Bid) -> Command:
        command = Command(order_id, bid)
        self.orders.setdefault(order_id, Order(user)).matches.append(command)
        return command

    def match_refused(self, command: Command, why: Exception) -> None:
        command.state = REFUSED
        if isinstance(why, OrderMismatch):
            bids = {repr(other.asked) for other in self.orders[command.order_id].matches}
            # The same bid may also be resting already.
            self._expect(len(bids) > 1 or "resting" in str(why), command.order_id, "was refused as another bid")

    def matched(self, command: Command, matched: Matched) -> None:
        command.state = DONE
        order, order_id = self.orders[command.order_id], command.order_id
        self._check_terms(order_id, command.asked, matched)
        first = order.first = order.first or matched
        same = (matched.terms, matched.held_atoms, matched.hold_expires_at_ms)
        self._expect(same == (first.terms, first.held_atoms, first.hold_expires_at_ms), order_id, "matched twice")
        order.fresh += not matched.replayed
        self._expect(order.fresh <= 1, order_id, "was told twice to be new")
        hold = self.read("find_hold", order_id)
        self._expect(hold is not None, order_id, "was matched, and there is no hold")
        told = (order.user, matched.terms.provider_id, matched.held_atoms)
        self._expect((hold.user, hold.provider, hold.amount_atoms) == told, order_id, "is held otherwise than told")

    def settle_sent(self, order_id: str, provider: str, usage: Usage, outcome: Outcome) -> Command:
        order = self.orders[order_id]
        command = Command(order_id, (provider, usage, outcome), after_match=order.first is not None)
        order.settles.append(command)
        return command

    def settled(self, command: Command, receipt: Receipt) -> None:
        command.state = DONE
        order_id = command.order_id
        self._expect(command.asked[0] == self._terms(order_id)["provider_id"], order_id, "was settled by a stranger")
        self._check_receipt(order_id, receipt)
        expected = self._parts(command)
        self._expect(receipt.charged_atoms == expected.charge, order_id, "charged", receipt, "not", expected)

    def settle_refused(self, command: Command, why: Exception) -> None:
        command.state = REFUSED
        hold = self.read("find_hold", command.order_id)
        known = hold is not None
        match why:
            case HoldClosed():
                right = known and hold.state in ("VOIDED", "EXPIRED")
            case KeyReused():
                right = known and hold.state == "SETTLED" and self._settled_parts(command.order_id)
                right = right != self._parts(command) if right else False
            case Forbidden():
                right = known and hold.provider != command.asked[0]
            case UnknownOrder():
                right = not command.after_match
            case _:
                right = False
        self._expect(bool(right), command.order_id, "settlement refused:", repr(why))

    def cancel_sent(self, order_id: str) -> None:
        self.orders[order_id].cancelling = True

    def cancelled(self, order_id: str, answer: Cancelled) -> None:
        if answer.state is CancelState.PENDING or not answer.refunded_atoms:
            return
        hold = self.read("find_hold", order_id)
        if answer.state is CancelState.CANCELLED:
            right = hold.state in ("VOIDED", "EXPIRED") and answer.refunded_atoms == hold.amount_atoms
        else:
            charge = self._settled_parts(order_id).charge
            right = hold.state == "SETTLED" and answer.refunded_atoms == hold.amount_atoms - charge
        self._expect(right, order_id, "cancelled:", answer, hold)

    def told(self, order_id: str, receipt: Receipt | None) -> None:
        if receipt is not None:
            self._check_receipt(order_id, receipt)

    def paged(self, user: str, asked_s: float, shown: list[tuple[str, int]]) -> None:
        """A statement read page by page while lines came in: nothing twice, and nothing lacks that was there before."""
        self._expect(len(shown) == len(set(shown)), user, "was shown a line twice:", shown)
        for key, told_s in self._told.get(user, []):
            known = told_s > asked_s or key in {line for line, _ in shown}
            self._expect(known, user, "was told of", key, "and is not shown it")

    def grant_told(self, deed: Deed) -> None:
        deed.certain = True
        self._told.setdefault(deed.figures["user"], []).append((deed.key, self._world.loop.time()))

    def any_usage(self) -> tuple[Usage, Outcome]:
        return Usage(self._world.dice.randrange(0, 100), self._world.dice.randrange(0, 100)), Outcome.COMPLETED

    def match_entered(self, process: Process, order_id: str) -> None:
        self._matching[process.name, order_id] += 1

    def match_left(self, process: Process, node: Node, order_id: str, *, answered: bool) -> None:
        """A call of `match` has returned, or raised. If its process opened the hold, it must keep room for it once all
        its calls for this order have come to an end.

        Not of a hold that may have been written after its call had ended: only an answer is sure to notice it."""
        place = process.name, order_id
        self._matching[place] -= 1
        if self._store.written_by.get(f"hold:{order_id}") is not process:
            if not answered:
                self._late.add(place)
        elif not self._matching[place] and (answered or place not in self._late):
            self.must_claim(process, node, order_id)

    def must_claim(self, process: Process, node: Node, order_id: str) -> None:
        """This process knows of the order: while it is open, it takes its capacity."""
        self._claimed.append((process, node, order_id))

    # --- at any moment ----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """What must hold between any two steps."""
        open_atoms, holds = dict.fromkeys(self.users, 0), self.read("open_holds")
        if self.rooms:
            self.rooms.look(holds, self._keeper)
        for hold in holds:
            open_atoms[hold.user] += hold.amount_atoms - hold.settled_atoms
        for user in self.users:
            balance = self.read("balance", user)
            self._expect(balance.available_atoms >= 0, user, "is below zero:", balance)
            self._expect(balance.held_atoms == open_atoms[user], user, "held", balance, "open", open_atoms[user])
        self._look_at_claims()
        for node in self.nodes:
            if node.is_up and not node.busy:
                self.look_at_capacity(node)

    def heal(self) -> None:
        """From now on nothing goes wrong."""
        self._healed_s = self._world.loop.time()

    def look_healed(self) -> None:
        """What must hold at any moment once the faults are over: no hold outlives its deadline."""
        holds, now_ms = self.read("open_holds"), self.now_ms()
        swept_s = 3 * EXCHANGE.sweep_interval_ms / 1_000
        if self._world.loop.time() > self._healed_s + swept_s:
            for hold in holds:
                late_ms = now_ms - hold.expires_at_ms
                self._expect(late_ms <= swept_s * 1_000, hold.order_id, "is open", late_ms, "ms after its deadline")
        if self.rooms:
            self.rooms.look_healed(holds, self._healed_s, now_ms)

    def _keeper(self, order_id: str) -> Link | None:
        """Of the node whose process wrote the order's hold, if that lives and its clock never was ahead."""
        process = self._store.written_by.get(f"hold:{order_id}")
        if process is None or not process.alive:
            return None
        return next((node.link for node in self.nodes if node.process is process and not node.clock.ahead_ms), None)

    def _look_at_claims(self) -> None:
        live = []
        for process, node, order_id in self._claimed:
            if process.alive and self.read("find_hold", order_id).state == "OPEN":
                live.append((process, node, order_id))
                claim = node.exchange.floor.claim(order_id)
                self._expect(claim is not None, order_id, "is open, and", process.name, "keeps no room for it")
        self._claimed = live

    def look_at_capacity(self, node: Node) -> None:
        """While no match is under way, what the book has claimed is what the claims sum to."""
        floor = node.exchange.floor
        for key, entry in floor._book._entries.items():  # type: ignore[attr-defined]
            *_, tokens, slots, _ = floor._book._core.state(entry.handle)  # type: ignore[attr-defined]
            claims = floor._claims_of.get(key, {}).values()
            expected = (sum(claim.tokens for claim in claims), len(claims))
            self._expect((tokens, slots) == expected, node.process.name, key, (tokens, slots), "claims", expected)

    # --- at the end -------------------------------------------------------------------------------------------------

    def is_quiet(self) -> bool:
        """Whether nothing is left to finish: no order, no room, no payout, refund or dispute, and all earnings due."""
        under_way = any(
            self.read("records", kind, state)
            for kind, state in (
                ("payout", "INITIATED"),
                ("payout", "TRANSFERRED"),
                ("payout", "FAILED"),
                ("refund", "INITIATED"),
                ("dispute", "WITHDRAWN"),
            )
        )
        earning = any(self.read("provider_balance", provider).maturing_atoms for provider in self.providers)
        return not under_way and not earning and self.is_settled()

    def is_settled(self) -> bool:
        """Whether no order is open, and no node keeps room for one."""
        return not self.read("open_holds") and all(
            node.is_up and not node.exchange.floor.claims() and not node.exchange.links._cancelled
            for node in self.nodes
        )

    def left_in_redis(self) -> bool:
        """Whether room is kept for orders that have ended."""
        return bool(self.rooms and self.rooms.left())

    def verdict(self) -> None:
        """Every deed booked in the journal's order, then every balance and every statement."""
        self.look()
        for order_id, order in self.orders.items():
            self._end_of_order(order_id, order)
        for deed in [deed for deed in self.deeds.values() if deed.kind == "hold"]:
            # Of those that nobody settles, the sweepers make an end.
            self.deed(f"void:{deed.figures['order_id']}", "void", deed.figures)
        done = [(entry.sequence, deed) for deed in self.deeds.values() if (entry := self._entry_of(deed))]
        books = Books(self._world.expect)
        for _, deed in sorted(done, key=lambda each: each[0]):
            books.book(deed)
        self._check_balances(books)
        for user in self.users:
            balance = self.read("balance", user)
            self._expect(balance.active != bool(books.freezes[user]), user, "frozen by", books.freezes[user], balance)
            self._check_statement("user_statement", user, books.lines[f"U:{user}"])
        for provider in self.providers:
            self._check_statement("provider_statement", provider, books.lines[f"P:{provider}"])
        report = self.read("audit")
        self._expect(report.ok and report.transactions == len(done), len(done), report)

    def _entry_of(self, deed: Deed) -> Any:
        """What the journal has of it. How much matured is for the journal to say: other nodes settle meanwhile."""
        entry = self.read("find_entry", deed.key)
        self._expect(entry is not None or not deed.certain, deed.key, "was acknowledged and is not there")
        if entry is not None and deed.kind == "mature":
            earned = -sum(leg.amount_atoms for leg in entry.legs if leg.account.startswith("PM:"))
            deed.figures = {**deed.figures, "atoms": earned}
        return entry

    def _check_balances(self, books: Books) -> None:
        for account, expected in books.balances.items():
            prefix, _, owner = account.partition(":")
            if prefix == "PM":
                has = self.read("provider_balance", owner).maturing_atoms
            elif account == "R:fee":
                has = sum(self.read("account_atoms", f"R:fee:{shard}") for shard in range(16))
            elif not owner or prefix == "H":
                self._expect(prefix != "H" or expected == 0, account, "still holds", expected)
                continue
            else:
                has = self.read("account_atoms", account)
            self._expect(has == expected, account, "has", has, "not", expected)

    def _check_statement(self, name: str, owner: str, expected: Counter[tuple[str, int]]) -> None:
        shown: Counter[tuple[str, int]] = Counter()
        cursor = ""
        while page := self.read(name, owner, cursor, self._world.dice.randrange(1, 20)):
            shown.update((line.key, line.amount_atoms) for line in page)
            cursor = page[-1].cursor
        self._expect(shown == expected, owner, name, "has", shown - expected, "and lacks", expected - shown)

    def _end_of_order(self, order_id: str, order: Order) -> None:
        """Held as asked for, and closed once, by what was asked for: its deeds go to the books."""
        hold = self.read("find_hold", order_id)
        if hold is None:
            self._expect(order.first is None, order_id, "was acknowledged and is not there")
            return
        bids = [command.asked for command in order.matches if command.state != REFUSED]
        terms = self._terms(order_id)
        amounts = {cost(terms, bid.prompt_tokens, bid.max_tokens) for bid in bids}
        self._expect(hold.amount_atoms in amounts, order_id, "holds", hold.amount_atoms, "asked for was", amounts)
        figures = {"user": order.user, "order_id": order_id, "atoms": hold.amount_atoms}
        self.deed(f"hold:{order_id}", "hold", figures)
        settled = self.read("find_entry", f"settle:{order_id}")
        voided = self.read("find_entry", f"void:{order_id}")
        self._expect((settled is None) != (voided is None), order_id, "ended otherwise than once:", settled, voided)
        if voided is not None:
            self._check_void(order_id, order, hold, voided)
            return
        end = self._settled_parts(order_id)
        possible = [self._parts(command) for command in order.settles if command.state != REFUSED]
        self._expect(hold.state == "SETTLED" and end in possible, order_id, hold.state, end, "of", possible)
        more = {"provider": terms["provider_id"], "charge": end.charge, "fee": end.fee}
        self.deed(f"settle:{order_id}", "settle", figures | more)

    def _check_void(self, order_id: str, order: Order, hold: Any, entry: Any) -> None:
        self._expect(not any(command.state == DONE for command in order.settles), order_id, "settled, then voided")
        if hold.state == "EXPIRED":
            latest_ms = self.now_ms() + max(node.clock.ahead_ms for node in self.nodes)
            self._expect(hold.expires_at_ms <= entry.at_ms <= latest_ms, order_id, "expired too early", hold, entry)
        else:
            self._expect(hold.state == "VOIDED" and order.cancelling, order_id, "voided, and nobody cancelled")

    # --- inside -----------------------------------------------------------------------------------------------------

    def _expect(self, holds: bool, *words: object) -> None:
        self._world.expect(holds, *words)

    def _terms(self, order_id: str) -> dict[str, Any]:
        hold = self.read("find_hold", order_id)
        self._expect(hold is not None, order_id, "was acknowledged, and there is no hold")
        terms: dict[str, Any] = json.loads(hold.terms)
        return terms

    def _parts(self, command: Command) -> Parts:
        _, usage, outcome = command.asked
        terms = self._terms(command.order_id)
        return parts(terms, usage.prompt_tokens, usage.completion_tokens, outcome is Outcome.COMPLETED)

    def _settled_parts(self, order_id: str) -> Parts:
        """As the journal has them."""
        entry = self.read("find_entry", f"settle:{order_id}")
        self._expect(entry is not None, order_id, "is settled without an entry")
        fee = share = 0
        for leg in entry.legs:
            if leg.account.startswith("R:"):
                fee += leg.amount_atoms
            elif leg.account.startswith("PM:"):
                share += leg.amount_atoms
        return Parts(fee + share, fee)

    def _check_receipt(self, order_id: str, receipt: Receipt) -> None:
        end = self._settled_parts(order_id)
        hold = self.read("find_hold", order_id)
        told = (receipt.charged_atoms, receipt.fee_atoms, receipt.held_atoms)
        self._expect(told == (end.charge, end.fee, hold.amount_atoms), order_id, "receipt", receipt, "journal", end)

    def _check_terms(self, order_id: str, bid: Bid, matched: Matched) -> None:
        """The match is within every limit of the bid, at a price that the provider asked at some time."""
        terms = matched.terms
        self._expect(
            (terms.price_ticks, terms.completion_price_ticks) in self._prices[terms.ask_key], order_id, "price"
        )
        amount = cost(self._terms(order_id), bid.prompt_tokens, bid.max_tokens)
        self._expect(matched.held_atoms == amount, order_id, "held", matched.held_atoms, "not", amount)
        self._expect(terms.provider_id not in bid.exclude_providers, order_id, "excluded provider")
        self._expect(bid.max_cost_atoms is None or amount <= bid.max_cost_atoms, order_id, "dearer than its limit")
        self._expect(bid.model == terms.model, order_id, "another model")
