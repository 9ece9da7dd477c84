"""What transactions do to one account, as one conditional update. Pure.

Conditions cannot calculate, so everything is turned into bounds of the balance as it is before the request. Changes
follow each other: a guard of the second is shifted by what the first has moved, which makes it exactly the same as
posting one after the other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from gollem.ledger.accounts import Bounds, bounds, user_account
from gollem.ledger.dynamodb.items import DATED, DATED_BY, Item, account_key, earnings_index, number
from gollem.ledger.types import (
    AvailableAtLeast,
    BalanceIs,
    CloseHold,
    Effect,
    Guard,
    OpenHold,
    ReduceHold,
    SetUserActive,
    Transaction,
    UserActive,
)
from gollem.units import MAX_ATOMS

_LIMIT = MAX_ATOMS - 1


@dataclass(frozen=True, slots=True)
class Change:
    """Amounts are atoms. `least`, `most` and `exact` bound the balance before the change, `held_least` and `held_most`
    the memo of what is held; `active` is what the account becomes (None: as it is). `entries` is how many transactions
    move money of it: the account counts them, so that an audit misses none."""

    atoms: int = 0
    held: int = 0
    entries: int = 0
    least: int = -_LIMIT
    most: int = _LIMIT
    exact: int | None = None
    held_least: int = 0
    held_most: int = _LIMIT
    must_be_active: bool = False
    active: bool | None = None

    def then(self, later: "Change") -> "Change | None":
        """Both as one, or None where one request cannot say it."""
        exact = self.exact if later.exact is None else later.exact - self.atoms
        if self.exact is not None and exact != self.exact:
            return None
        if later.must_be_active and self.active is not None:
            return None
        return Change(
            atoms=self.atoms + later.atoms,
            held=self.held + later.held,
            entries=self.entries + later.entries,
            least=max(self.least, later.least - self.atoms),
            most=min(self.most, later.most - self.atoms),
            exact=exact,
            held_least=max(self.held_least, later.held_least - self.held),
            held_most=min(self.held_most, later.held_most - self.held),
            must_be_active=self.must_be_active or later.must_be_active,
            active=self.active if later.active is None else later.active,
        )

    def in_range(self, balance_atoms: int, held_atoms: int) -> bool:
        """Whether the account may be changed so, whatever its guards say."""
        return self.least <= balance_atoms <= self.most and self.held_least <= held_atoms <= self.held_most


def changes_of(transaction: Transaction) -> dict[str, Change]:
    """By account; escrows are the holds themselves and not here."""
    changes: dict[str, Change] = {}
    for account, change in _moves(transaction):
        changes[account] = _beside(changes.get(account), change)
    for guard in transaction.guards:
        account, change = _guarded(guard)
        if account:
            changes[account] = _beside(changes.get(account), change)
    return changes


def _moves(transaction: Transaction) -> Iterator[tuple[str, Change]]:
    for leg in transaction.legs:
        if not leg.account.startswith("H:"):
            yield leg.account, _moved(leg.account, leg.amount_atoms)
    for effect in transaction.effects:
        user, change = _effect(effect)
        if user:
            yield user_account(user), change


def _moved(account: str, atoms: int) -> Change:
    """A leg, and the bounds that keep the account in its range."""
    if atoms < 0:
        floor = 0 if bounds(account) in (Bounds.FLOOR, Bounds.CREDIT_ONLY) else -_LIMIT
        return Change(atoms=atoms, entries=1, least=floor - atoms)
    ceiling = 0 if bounds(account) is Bounds.CEILING else _LIMIT
    return Change(atoms=atoms, entries=1, most=ceiling - atoms)


def _effect(effect: Effect) -> tuple[str, Change]:
    match effect:
        case OpenHold(hold):
            return hold.user, Change(held=hold.amount_atoms, entries=1, held_most=_LIMIT - hold.amount_atoms)
        case CloseHold(_, user, atoms) | ReduceHold(_, user, atoms):
            return user, Change(held=-atoms, entries=1, held_least=atoms)
        case SetUserActive(user, active):
            return user, Change(active=active)
    return "", Change()


def _guarded(guard: Guard) -> tuple[str, Change]:
    match guard:
        case AvailableAtLeast(account, atoms):
            return account, Change(least=atoms)
        case BalanceIs(account, atoms):
            return account, Change(exact=atoms)
        case UserActive(user):
            return user_account(user), Change(must_be_active=True)
    return "", Change()


def _beside(one: Change | None, other: Change) -> Change:
    """Two parts of one transaction: all its conditions are about the balance before it."""
    if one is None:
        return other
    return replace(
        one,
        atoms=one.atoms + other.atoms,
        held=one.held + other.held,
        entries=max(one.entries, other.entries),
        least=max(one.least, other.least),
        most=min(one.most, other.most),
        exact=one.exact if other.exact is None else other.exact,
        held_least=max(one.held_least, other.held_least),
        held_most=min(one.held_most, other.held_most),
        must_be_active=one.must_be_active or other.must_be_active,
        active=one.active if other.active is None else other.active,
    )


# --- as a part of TransactWriteItems ----------------------------------------------------------------------------------


def write_of(table: str, account: str, change: Change, slot: int) -> Item:
    """The update of the account's item, or only the check where nothing changes. `slot` is that of the entries."""
    values: Item = {}
    conditions = list(_conditions(change, values))
    update = _update(account, change, slot, values)
    body: Item = {"TableName": table, "Key": account_key(account)}
    if update:
        body["UpdateExpression"] = update
    if conditions:
        body["ConditionExpression"] = " AND ".join(conditions)
    if values:
        body["ExpressionAttributeValues"] = values
    return {"Update" if update else "ConditionCheck": body}


def _conditions(change: Change, values: Item) -> Iterator[str]:
    """An item or an attribute that is not there counts as 0."""
    if change.exact is not None:
        values[":exact"] = number(change.exact)
        yield _or_absent("balance = :exact", "balance", change.exact == 0)
    if change.least > -_LIMIT:
        values[":least"] = number(change.least)
        yield _or_absent("balance >= :least", "balance", change.least <= 0)
    if change.most < _LIMIT:
        values[":most"] = number(change.most)
        yield _or_absent("balance <= :most", "balance", change.most >= 0)
    if change.held_least > 0:
        values[":held_least"] = number(change.held_least)
        yield "held >= :held_least"
    if change.held_most < _LIMIT:
        values[":held_most"] = number(change.held_most)
        yield _or_absent("held <= :held_most", "held", change.held_most >= 0)
    if change.must_be_active:
        yield "attribute_not_exists(frozen)"


def _or_absent(condition: str, attribute: str, allowed: bool) -> str:
    return f"(attribute_not_exists({attribute}) OR {condition})" if allowed else condition


def _update(account: str, change: Change, slot: int, values: Item) -> str:
    sets, adds, removes = [], [], []
    if change.entries:
        adds += ["balance :atoms", f"atoms{slot} :atoms", f"entries{slot} :entries"]
        values |= {":atoms": number(change.atoms), ":entries": number(change.entries)}
    if change.held:
        adds += ["held :held", f"held{slot} :held"]
        values[":held"] = number(change.held)
    if change.active is not None:
        removes += ["frozen"] if change.active else []
        sets += [] if change.active else ["frozen = :frozen"]
        values |= {} if change.active else {":frozen": {"BOOL": True}}
    if change.entries and account.startswith("PM:"):
        _index_earnings(account, change, values, sets, removes)
    parts = (("SET", sets), ("REMOVE", removes), ("ADD", adds))
    return " ".join(f"{verb} {', '.join(clauses)}" for verb, clauses in parts if clauses)


def _index_earnings(account: str, change: Change, values: Item, sets: list[str], removes: list[str]) -> None:
    """In the index while there is something to mature: only who knows the balance exactly can know that nothing is."""
    if change.exact is not None and change.exact + change.atoms == 0:
        removes += [DATED, DATED_BY]
        return
    sets += [f"{DATED} = :dated", f"{DATED_BY} = :dated_by"]
    index = earnings_index(account)
    values |= {":dated": index[DATED], ":dated_by": index[DATED_BY]}
