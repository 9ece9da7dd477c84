"""The auditor's own books: every deed that is known to have happened, in its order, booked by plain arithmetic.

Whoever wants to know what each type of transaction does reads it here once more, written for this only.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

# The sign of what leaves a user for an order.
TAKEN = -1
_OWNED, _OWED = ("U", "P", "PO", "RF", "PM"), ("D", "DP")


@dataclass
class Deed:
    """Something that was asked for under a key; `certain` once it was acknowledged."""

    key: str
    kind: str
    figures: dict[str, Any]
    certain: bool = False


@dataclass
class Books:
    """`expect(holds, *words)` is called with what must hold."""

    expect: Callable[..., None]
    balances: Counter[str] = field(default_factory=Counter)
    freezes: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # by user, why
    states: dict[str, str] = field(default_factory=dict)
    payouts: dict[str, tuple[str, int]] = field(default_factory=dict)
    refunds: dict[str, tuple[str, int]] = field(default_factory=dict)
    # Of users (U:) and providers (P:): key and amount of each line.
    lines: dict[str, Counter[tuple[str, int]]] = field(default_factory=lambda: defaultdict(Counter))

    def book(self, deed: Deed) -> None:
        getattr(self, f"_{deed.kind}")(deed.key, **deed.figures)

    # --- orders -----------------------------------------------------------------------------------------------------

    def _grant(self, key: str, user: str, atoms: int) -> None:
        self._move(key, {"X:promo": -atoms, f"U:{user}": atoms})

    def _hold(self, key: str, user: str, order_id: str, atoms: int) -> None:
        self.expect(not self.freezes[user], key, "of a frozen user")
        self._move(key, {f"U:{user}": TAKEN * atoms, f"H:{order_id}": atoms})

    def _void(self, key: str, user: str, order_id: str, atoms: int) -> None:
        self._close(key, order_id)
        rest = self.balances[f"H:{order_id}"]
        self._move(key, {f"H:{order_id}": -rest, f"U:{user}": rest})

    def _settle(self, key: str, user: str, order_id: str, atoms: int, provider: str, charge: int, fee: int) -> None:
        self._close(key, order_id)
        rest = self.balances[f"H:{order_id}"]
        legs = {f"PM:{provider}": charge - fee, "R:fee": fee, f"U:{user}": rest - charge}
        self._move(key, {f"H:{order_id}": -rest, **legs})

    def _part(self, key: str, order_id: str, provider: str, charge: int, fee: int) -> None:
        self.expect(order_id not in self.states, key, "of an order that is closed")
        self._move(key, {f"H:{order_id}": -charge, f"PM:{provider}": charge - fee, "R:fee": fee})

    def _close(self, key: str, order_id: str) -> None:
        self.expect(self.states.setdefault(order_id, key) == key, order_id, "was closed before by", self.states)

    # --- purchases, refunds, disputes -------------------------------------------------------------------------------

    def _purchase(self, key: str, user: str, atoms: int) -> None:
        self._move(key, {"A:stripe": -atoms, **self._given(f"U:{user}", f"D:{user}", atoms)})

    def _stripe_fee(self, key: str, atoms: int) -> None:
        self._move(key, {"A:stripe": atoms, "X:stripe_fee": -atoms})

    def _refund_asked(self, key: str, refund: str, purchase: str, user: str, atoms: int, bought: int) -> None:
        self.expect(not self.freezes[user], key, "of a frozen user")
        self.balances[purchase] += atoms
        self.expect(self.balances[purchase] <= bought, key, "gives back more than was bought")
        self.refunds[refund] = ("asked", atoms)
        self._move(key, {f"U:{user}": -atoms, f"RF:{refund}": atoms})

    def _refund_ok(self, key: str, refund: str) -> None:
        state, atoms = self.refunds[refund]
        self.expect(state == "asked", key, "of a refund that is", state)
        self.refunds[refund] = ("ok", atoms)
        self._move(key, {f"RF:{refund}": -atoms, "A:stripe": atoms})

    def _refund_failed(self, key: str, refund: str, purchase: str, user: str) -> None:
        state, atoms = self.refunds[refund]
        self.expect(state in ("asked", "ok"), key, "of a refund that is", state)
        self.refunds[refund] = ("failed", atoms)
        self.balances[purchase] -= atoms
        self._move(key, {"A:stripe" if state == "ok" else f"RF:{refund}": -atoms, f"U:{user}": atoms})

    def _dispute_lost_money(self, key: str, dispute: str, user: str, atoms: int, fee: int) -> None:
        self.states[dispute] = "open"
        self.freezes[user].add(f"dispute.{dispute}")
        taken = self._taken(f"U:{user}", f"D:{user}", atoms)
        self._move(key, {"A:stripe": atoms + fee, "X:dispute_fee": -fee, **taken})

    def _dispute_won(self, key: str, dispute: str, user: str, atoms: int) -> None:
        self._decide(key, dispute)
        self._move(key, {"A:stripe": -atoms, **self._given(f"U:{user}", f"D:{user}", atoms)})
        freeze = f"dispute.{dispute}"
        if self.freezes[user] != {freeze} or not self.balances[f"D:{user}"]:
            self.freezes[user].discard(freeze)

    def _dispute_written_off(self, key: str, dispute: str, user: str, atoms: int) -> None:
        self._decide(key, dispute)
        atoms = min(atoms, -self.balances[f"D:{user}"])
        self._move(key, {"X:bad_debt": -atoms, f"D:{user}": atoms})

    def _decide(self, key: str, dispute: str) -> None:
        self.expect(self.states[dispute] == "open", key, "of a dispute that is", self.states[dispute])
        self.states[dispute] = "decided"

    # --- providers --------------------------------------------------------------------------------------------------

    def _mature(self, key: str, provider: str, atoms: int) -> None:
        given = self._given(f"P:{provider}", f"DP:{provider}", atoms)
        self._move(key, {f"PM:{provider}": -atoms, **given}, silent=True)

    def _payout_asked(self, key: str, payout: str, provider: str, atoms: int) -> None:
        busy = [other for other, (state, _) in self.payouts.items() if state == f"asked {provider}"]
        self.expect(not busy, key, "beside", busy)
        self.expect(not self.balances[f"DP:{provider}"], key, "of a provider in debt")
        self.payouts[payout] = (f"asked {provider}", atoms)
        self._move(key, {f"P:{provider}": -atoms, f"PO:{payout}": atoms})

    def _payout_sent(self, key: str, payout: str, provider: str) -> None:
        atoms = self._pass_on(key, payout, (f"asked {provider}",), "sent")
        self._move(key, {f"PO:{payout}": -atoms, "A:stripe": atoms, **_memo(provider, atoms)})

    def _payout_cancelled(self, key: str, payout: str, provider: str) -> None:
        atoms = self._pass_on(key, payout, (f"asked {provider}",), "cancelled")
        self._move(key, {f"PO:{payout}": -atoms, f"P:{provider}": atoms})

    def _payout_paid(self, key: str, payout: str, provider: str) -> None:
        atoms = self._pass_on(key, payout, ("sent", "failed"), "paid")
        self._move(key, _banked(provider, atoms))

    def _payout_failed(self, key: str, payout: str, provider: str) -> None:
        was_paid = self.payouts[payout][0] == "paid"
        atoms = self._pass_on(key, payout, ("sent", "failed", "paid"), "failed")
        self._move(key, _banked(provider, -atoms) if was_paid else {})

    def _payout_reversed(self, key: str, payout: str, provider: str) -> None:
        atoms = self._pass_on(key, payout, ("sent", "failed"), "reversed")
        self._move(key, {"A:stripe": -atoms, f"P:{provider}": atoms, **_memo(provider, -atoms)})

    def _pass_on(self, key: str, payout: str, before: tuple[str, ...], after: str) -> int:
        state, atoms = self.payouts[payout]
        self.expect(state in before, key, "of a payout that is", state)
        self.payouts[payout] = (after, atoms)
        return atoms

    def _clawback(self, key: str, provider: str, atoms: int, user: str) -> None:
        taken = self._taken(f"P:{provider}", f"DP:{provider}", atoms)
        self._move(key, {**taken, f"U:{user}" if user else "X:bad_debt": atoms})

    # --- by hand ----------------------------------------------------------------------------------------------------

    def _adjustment(self, key: str, user: str, atoms: int) -> None:
        self._move(key, {"E:adjust": -atoms, f"U:{user}": atoms})

    def _unmatched(self, key: str, atoms: int) -> None:
        self._move(key, {"A:stripe": -atoms, "S:unmatched": atoms})

    def _resolved(self, key: str, user: str, atoms: int) -> None:
        self._move(key, {"S:unmatched": -atoms, f"U:{user}": atoms})

    def _freeze(self, key: str, user: str, freeze: str) -> None:
        self.freezes[user].add(freeze)

    def _unfreeze(self, key: str, user: str, freeze: str) -> None:
        self.freezes[user].remove(freeze)
        stays = self.freezes[user] or not self.balances[f"D:{user}"]
        self.expect(stays, key, "unfreezes a user in debt")

    def _nothing(self, key: str) -> None:
        """Moves no money."""

    # --- inside -----------------------------------------------------------------------------------------------------

    def _given(self, account: str, debt: str, atoms: int) -> dict[str, int]:
        """Debt first."""
        repaid = min(atoms, -self.balances[debt])
        return {debt: repaid, account: atoms - repaid}

    def _taken(self, account: str, debt: str, atoms: int) -> dict[str, int]:
        """What is not there becomes debt."""
        there = min(atoms, self.balances[account])
        return {account: -there, debt: there - atoms}

    def _move(self, key: str, legs: dict[str, int], *, silent: bool = False) -> None:
        for account, atoms in legs.items():
            self.balances[account] += atoms
            prefix, _, owner = account.partition(":")
            balance = self.balances[account]
            self.expect(prefix not in _OWNED or balance >= 0, key, "brings", account, "to", balance)
            self.expect(prefix not in _OWED or balance <= 0, key, "brings", account, "to", balance)
            if not atoms or silent:
                continue
            if prefix in ("U", "D"):
                self.lines[f"U:{owner}"][key, atoms] += 1
            elif prefix in ("PM", "P", "DP"):
                self.lines[f"P:{owner}"][key, atoms] += 1


def _memo(provider: str, atoms: int) -> dict[str, int]:
    """What comes to lie at the provider's own account."""
    return {f"A:conn:{provider}": -atoms, f"L:conn:{provider}": atoms}


def _banked(provider: str, atoms: int) -> dict[str, int]:
    """What goes on from there to the provider's bank."""
    return {f"A:conn:{provider}": atoms, f"A:paid:{provider}": -atoms}
