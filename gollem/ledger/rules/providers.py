"""Providers as payees: where they are paid, and whether they may be."""

from gollem.ledger import records
from gollem.ledger.accounts import connected_account
from gollem.ledger.rules.parts import digest, require_kind, require_names
from gollem.ledger.types import BalanceIs, Kind, PutRecord, Record, RecordIs, Transaction, UpdateRecord


def provider_registered(
    provider: str,
    connected_id: str,
    enabled: bool,
    now_ms: int,
    country: str = "",
    agreement: str = "",
    blocked_by: str = "",
) -> Transaction:
    """A provider has an account with Stripe, in a country (ISO 3166-1 alpha-2) and under one of its agreements, and may
    be paid, or not (`blocked_by`). Key `provider:{provider}:0`."""
    require_names(provider=provider, connected_id=connected_id)
    fields: dict[str, str | int] = {"connected_id": connected_id, "open_payout": "", "payouts": 0, "version": 0}
    fields |= {"country": country, "agreement": agreement, "blocked_by": blocked_by}
    record = Record(records.PROVIDER, provider, _state(enabled), fields)
    return Transaction(
        key=f"provider:{provider}:0",
        kind=Kind.PROVIDER,
        legs=(),
        fingerprint=digest("provider", connected_id, enabled),
        at_ms=now_ms,
        effects=(PutRecord(record),),
    )


def provider_changed(
    known: Record, connected_id: str, enabled: bool, now_ms: int, blocked_by: str = "", held_by: str = ""
) -> Transaction:
    """The account is another one, or may or may not be paid to from now on (`blocked_by`; `held_by`, if that is for
    what our books say). Key `provider:{provider}:{version}`, the next version of what is known."""
    require_kind(known, records.PROVIDER)
    require_names(connected_id=connected_id)
    seen, version = known.number("version"), known.number("version") + 1
    fields: dict[str, str | int] = {"connected_id": connected_id, "version": version, "blocked_by": blocked_by}
    fields["held_by"] = held_by
    return Transaction(
        key=f"provider:{known.id}:{version}",
        kind=Kind.PROVIDER,
        legs=(),
        fingerprint=digest("provider", connected_id, enabled),
        at_ms=now_ms,
        guards=(RecordIs(records.PROVIDER, known.id, ("ENABLED", "DISABLED"), {"version": seen}),),
        effects=(UpdateRecord(records.PROVIDER, known.id, _state(enabled), fields),),
    )


def provider_moved(
    known: Record,
    connected_id: str,
    enabled: bool,
    now_ms: int,
    country: str = "",
    agreement: str = "",
    blocked_by: str = "",
) -> Transaction:
    """Its account is gone, and this one takes its place, in a country of its own. Key `provider:{provider}:{version}`.
    Refused while there is money by our books at the old one, or a payout on its way there."""
    require_kind(known, records.PROVIDER)
    require_names(connected_id=connected_id)
    seen, version = known.number("version"), known.number("version") + 1
    fields: dict[str, str | int] = {"connected_id": connected_id, "version": version, "held_by": ""}
    fields |= {"country": country, "agreement": agreement, "blocked_by": blocked_by}
    return Transaction(
        key=f"provider:{known.id}:{version}",
        kind=Kind.PROVIDER,
        legs=(),
        fingerprint=digest("provider", connected_id, enabled),
        at_ms=now_ms,
        guards=(
            RecordIs(records.PROVIDER, known.id, ("DISABLED",), {"version": seen, "open_payout": ""}),
            BalanceIs(connected_account(known.id), 0),
        ),
        effects=(UpdateRecord(records.PROVIDER, known.id, _state(enabled), fields),),
    )


def _state(enabled: bool) -> str:
    return "ENABLED" if enabled else "DISABLED"
