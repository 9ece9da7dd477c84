"""A payout: out of the payable earnings, by a transfer to the provider's account with Stripe, and on to the bank.

    INITIATED -> TRANSFERRED -> PAID     a bank may send a payout back, even after it was paid: FAILED, then PAID again
        \\-> CANCELLED  \\-> REVERSED     with the next attempt, or REVERSED, the money back with the platform

Of what is not the platform's any more three memo accounts keep track: L:conn is all that came to the provider's own
account with Stripe, A:conn what lies there, A:paid what its bank took. They sum to 0.

A provider's payouts are a chain: its record names the last one, and each names the one `before`, so that they are found
without a walk through all that the provider earned.
"""

from gollem.ledger import records
from gollem.ledger.accounts import (
    STRIPE,
    connected_account,
    connected_liability,
    paid_account,
    payable_account,
    payout_account,
    provider_debt,
)
from gollem.ledger.rules.parts import digest, require_cents, require_kind, require_names
from gollem.ledger.types import (
    ABSENT,
    AvailableAtLeast,
    BalanceIs,
    Guard,
    Kind,
    Leg,
    PutRecord,
    Record,
    RecordIs,
    Transaction,
    UpdateRecord,
)

KEPT_ATTEMPTS = 16  # at a bank, by the record; the journal has them all


def payout_initiated(payout_id: str, provider: Record, amount_atoms: int, now_ms: int) -> Transaction:
    """Whole cents set aside for one payout, the only one under way. Key `po_init:{payout_id}`, whatever the amount.

    Refused while payouts are halted, for a provider that may not be paid or has a payout open already, and (StaleRead)
    while it owes anything."""
    require_kind(provider, records.PROVIDER)
    require_names(payout_id=payout_id)
    require_cents(f"payout {payout_id}", amount_atoms)
    number, connected_id = provider.number("payouts"), provider.text("connected_id")
    fields: dict[str, str | int] = {
        "provider": provider.id,
        "amount_atoms": amount_atoms,
        "connected_id": connected_id,
        "attempt": 0,
        "at_ms": now_ms,
        "before": provider.text("last_payout"),
    }
    follows: dict[str, str | int] = {"open_payout": payout_id, "last_payout": payout_id, "payouts": number + 1}
    free: dict[str, str | int] = {"open_payout": "", "payouts": number, "connected_id": connected_id}
    return Transaction(
        key=f"po_init:{payout_id}",
        kind=Kind.PAYOUT_INITIATED,
        legs=(Leg(payable_account(provider.id), -amount_atoms), Leg(payout_account(payout_id), amount_atoms)),
        fingerprint=payout_fingerprint(provider.id),
        at_ms=now_ms,
        guards=(
            RecordIs(records.PROVIDER, provider.id, ("ENABLED",), free),
            RecordIs(records.BREAKER, records.PAYOUTS, (ABSENT, "RUNNING")),
            BalanceIs(provider_debt(provider.id), 0),
            AvailableAtLeast(payable_account(provider.id), amount_atoms),
        ),
        effects=(
            UpdateRecord(records.PROVIDER, provider.id, None, follows),
            PutRecord(Record(records.PAYOUT, payout_id, "INITIATED", fields)),
        ),
    )


def payout_fingerprint(provider: str) -> str:
    return digest("po_init", provider)


def payout_transferred(payout: Record, transfer_id: str, now_ms: int) -> Transaction:
    """Stripe moved the money to the provider's account. Key `po_tr:{transfer_id}`."""
    require_names(transfer_id=transfer_id)
    to_stripe = Leg(STRIPE, payout.number("amount_atoms"))
    update = UpdateRecord(records.PAYOUT, payout.id, "TRANSFERRED", {"transfer_id": transfer_id})
    key = f"po_tr:{transfer_id}"
    return _decided(payout, key, Kind.PAYOUT_TRANSFERRED, (to_stripe, *_arrived(payout)), update, now_ms)


def payout_cancelled(payout: Record, now_ms: int) -> Transaction:
    """It is certain that Stripe has no transfer, nor will have: the money is payable again. Key
    `po_cancel:{payout_id}`."""
    update = UpdateRecord(records.PAYOUT, payout.id, "CANCELLED")
    key = f"po_cancel:{payout.id}"
    return _decided(payout, key, Kind.PAYOUT_CANCELLED, (_payable_again(payout),), update, now_ms)


def payout_paid(payout: Record, bank_payout_id: str, attempt: int, now_ms: int) -> Transaction:
    """The provider's bank has the money. Key `po_paid:{bank_payout_id}:{attempt}`."""
    require_names(bank_payout_id=bank_payout_id)
    is_due = RecordIs(records.PAYOUT, payout.id, ("TRANSFERRED", "FAILED"), {"attempt": attempt})
    update = UpdateRecord(records.PAYOUT, payout.id, "PAID", {bank_field(attempt): bank_payout_id})
    key = f"po_paid:{bank_payout_id}:{attempt}"
    return _moved(payout, key, Kind.PAYOUT_PAID, _banked(payout, 1), (is_due,), (update,), now_ms)


def payout_failed(payout: Record, bank_payout_id: str, attempt: int, now_ms: int) -> Transaction:
    """The bank did not take it, told at once or days after it was paid: it lies at the provider's account again, for
    the next attempt. Key `po_fail:{bank_payout_id}:{attempt}`."""
    require_names(bank_payout_id=bank_payout_id)
    was_paid = payout.state == "PAID"
    states = ("PAID",) if was_paid else ("TRANSFERRED", "FAILED")
    was_tried = RecordIs(records.PAYOUT, payout.id, states, {"attempt": attempt})
    update = UpdateRecord(
        records.PAYOUT, payout.id, "FAILED", {"attempt": attempt + 1, bank_field(attempt): bank_payout_id}
    )
    key = f"po_fail:{bank_payout_id}:{attempt}"
    legs = _banked(payout, -1) if was_paid else ()
    return _moved(payout, key, Kind.PAYOUT_FAILED, legs, (was_tried,), (update,), now_ms)


def bank_field(attempt: int) -> str:
    """Where a payout's record names the bank payout of an attempt; of the last KEPT_ATTEMPTS."""
    return f"bank_{attempt % KEPT_ATTEMPTS}"


def payout_reversed(payout: Record, reversal_id: str, now_ms: int) -> Transaction:
    """The transfer came back to the platform: the money is payable again. Key `trr:{reversal_id}`."""
    require_names(reversal_id=reversal_id)
    from_stripe = Leg(STRIPE, -payout.number("amount_atoms"))
    is_there = RecordIs(records.PAYOUT, payout.id, ("TRANSFERRED", "FAILED"))
    update = UpdateRecord(records.PAYOUT, payout.id, "REVERSED", {"reversal_id": reversal_id})
    legs = (from_stripe, _payable_again(payout), *_left(payout))
    return _moved(payout, f"trr:{reversal_id}", Kind.PAYOUT_REVERSED, legs, (is_there,), (update,), now_ms)


def _payable_again(payout: Record) -> Leg:
    return Leg(payable_account(payout.text("provider")), payout.number("amount_atoms"))


def _arrived(payout: Record) -> tuple[Leg, Leg]:
    """The memo of money that came to the provider's account."""
    provider, amount_atoms = payout.text("provider"), payout.number("amount_atoms")
    return Leg(connected_account(provider), -amount_atoms), Leg(connected_liability(provider), amount_atoms)


def _banked(payout: Record, sign: int) -> tuple[Leg, Leg]:
    """The memo of money that went on to the provider's bank, or came back from there (-1)."""
    provider, amount_atoms = payout.text("provider"), sign * payout.number("amount_atoms")
    return Leg(connected_account(provider), amount_atoms), Leg(paid_account(provider), -amount_atoms)


def _left(payout: Record) -> tuple[Leg, Leg]:
    """The memo of money that went back to the platform."""
    provider, amount_atoms = payout.text("provider"), payout.number("amount_atoms")
    return Leg(connected_liability(provider), -amount_atoms), Leg(connected_account(provider), amount_atoms)


def _decided(
    payout: Record, key: str, kind: Kind, to: tuple[Leg, ...], update: UpdateRecord, now_ms: int
) -> Transaction:
    """All of it out of INITIATED, and the provider may have another payout."""
    account, amount_atoms, provider = payout_account(payout.id), payout.number("amount_atoms"), payout.text("provider")
    guards = (
        RecordIs(records.PAYOUT, payout.id, ("INITIATED",)),
        RecordIs(records.PROVIDER, provider, ("ENABLED", "DISABLED"), {"open_payout": payout.id}),
        BalanceIs(account, amount_atoms),
    )
    effects = (update, UpdateRecord(records.PROVIDER, provider, None, {"open_payout": ""}))
    return _moved(payout, key, kind, (Leg(account, -amount_atoms), *to), guards, effects, now_ms)


def _moved(
    payout: Record,
    key: str,
    kind: Kind,
    legs: tuple[Leg, ...],
    guards: tuple[Guard, ...],
    effects: tuple[UpdateRecord, ...],
    now_ms: int,
) -> Transaction:
    require_kind(payout, records.PAYOUT)
    return Transaction(key, kind, legs, digest(kind, payout.id), now_ms, guards, effects, detail=payout.id)
