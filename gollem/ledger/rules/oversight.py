"""What watching the books writes: results of reconciliation, seals, alerts, the breaker of payouts. No money moves."""

from collections.abc import Iterable, Sequence

from gollem.ledger import records
from gollem.ledger.rules.parts import digest, require_kind, require_names
from gollem.ledger.types import (
    Effect,
    Guard,
    Kind,
    PutRecord,
    Record,
    RecordIs,
    Transaction,
    UpdateRecord,
)

MAX_MESSAGE_CHARS = 1_000

Change = tuple[Record | None, Record]  # a record as it was read, and as it is to be


def reconciled(run_id: str, changes: Sequence[Change], alerts: Iterable[Record], now_ms: int) -> Transaction:
    """The results of one run, and what follows from them. Key `reconciled:{run_id}`. Refused if anything that was read
    has changed."""
    guards: list[Guard] = []
    effects: list[Effect] = [PutRecord(alert) for alert in alerts]
    for old, new in changes:
        if old is None:
            effects.append(PutRecord(new))
        else:
            guards.append(RecordIs(old.kind, old.id, (old.state,), {"version": old.number("version")}))
            effects.append(UpdateRecord(new.kind, new.id, new.state, new.fields))
    return Transaction(
        key=f"reconciled:{run_id}",
        kind=Kind.RECONCILIATION,
        legs=(),
        fingerprint=digest("reconciled", run_id),
        at_ms=now_ms,
        guards=tuple(guards),
        effects=tuple(effects),
    )


def payouts_halted(breaker: Record | None, reason: str, operator: str, now_ms: int) -> Transaction:
    """Somebody has payouts wait; `breaker` as just read. Key `halted:{version}` of the breaker, its next."""
    require_names(operator=operator)
    version = breaker.number("version") + 1 if breaker else 0
    why = f"{operator}: {reason}"[:MAX_MESSAGE_CHARS]
    halted = Record(records.BREAKER, records.PAYOUTS, "HALTED", {"version": version, "at_ms": now_ms, "reason": why})
    is_same = RecordIs(halted.kind, halted.id, ("RUNNING",), {"version": version - 1})
    change: Effect = UpdateRecord(halted.kind, halted.id, "HALTED", halted.fields) if breaker else PutRecord(halted)
    return Transaction(
        key=f"halted:{version}",
        kind=Kind.PAYOUTS_HALTED,
        legs=(),
        fingerprint=digest("halted", version),  # of two who say so at once, one does
        at_ms=now_ms,
        guards=(is_same,) if breaker else (),
        effects=(change,),
        detail=operator,
    )


def payouts_resumed(breaker: Record, approver: str, now_ms: int) -> Transaction:
    """Somebody has looked: payouts go on. Key `resumed:{version}` of the breaker."""
    require_kind(breaker, records.BREAKER)
    require_names(approver=approver)
    version = breaker.number("version")
    fields: dict[str, str | int] = {"version": version + 1, "at_ms": now_ms, "reason": f"resumed by {approver}"}
    return Transaction(
        key=f"resumed:{version}",
        kind=Kind.PAYOUTS_RESUMED,
        legs=(),
        fingerprint=digest("resumed", approver),
        at_ms=now_ms,
        guards=(RecordIs(records.BREAKER, breaker.id, ("HALTED",), {"version": version}),),
        effects=(UpdateRecord(records.BREAKER, breaker.id, "RUNNING", fields),),
        detail=approver,
    )


def alert(alert_id: str, subject: str, message: str, now_ms: int) -> Record:
    fields: dict[str, str | int] = {"subject": subject, "message": message[:MAX_MESSAGE_CHARS], "at_ms": now_ms}
    fields["version"] = 0
    return Record(records.ALERT, alert_id, "OPEN", fields)


def watched(account: str, threshold_atoms: int, known: Record | None, now_ms: int) -> Transaction:
    """Watch the account, or watch it for another threshold; armed. Key `watch:{account}:{version}`."""
    version = known.number("version") + 1 if known else 0
    fields: dict[str, str | int] = {"threshold_atoms": threshold_atoms, "version": version}
    rule = Record(records.ALERT_RULE, account, "ARMED", fields)
    return _rule_change(f"watch:{account}:{version}", Kind.ALERT_RULE, known, rule, (), now_ms)


def fell_below(rule: Record, available_atoms: int, message: str, now_ms: int) -> Transaction:
    """The account has less than its rule's threshold: one alert, and no other before the rule is armed again. Key
    `watch:{account}:{version}`."""
    version = rule.number("version") + 1
    fields: dict[str, str | int] = {**rule.fields, "version": version, "seen_atoms": available_atoms}
    fired = Record(records.ALERT_RULE, rule.id, "FIRED", fields)
    raised = alert(f"low_balance:{rule.id}:{version}", rule.id, message, now_ms)
    return _rule_change(f"watch:{rule.id}:{version}", Kind.ALERT, rule, fired, (raised,), now_ms)


def armed_again(rule: Record, now_ms: int) -> Transaction:
    """The account has clearly more than its rule's threshold. Key `watch:{account}:{version}`."""
    version = rule.number("version") + 1
    armed = Record(records.ALERT_RULE, rule.id, "ARMED", {**rule.fields, "version": version})
    return _rule_change(f"watch:{rule.id}:{version}", Kind.ALERT_RULE, rule, armed, (), now_ms)


def _rule_change(
    key: str, kind: Kind, old: Record | None, new: Record, alerts: tuple[Record, ...], now_ms: int
) -> Transaction:
    is_same = RecordIs(new.kind, new.id, (old.state,), {"version": old.number("version")}) if old else None
    change: Effect = UpdateRecord(new.kind, new.id, new.state, new.fields) if old else PutRecord(new)
    return Transaction(
        key=key,
        kind=kind,
        legs=(),
        fingerprint=digest(kind, new.state, new.number("threshold_atoms")),
        at_ms=now_ms,
        guards=(is_same,) if is_same else (),
        effects=(change, *(PutRecord(raised) for raised in alerts)),
    )
