"""What is kept beside the books, such as events of the payment provider: records that no money depends on."""

from gollem.ledger.rules.parts import digest
from gollem.ledger.types import Kind, PutRecord, Record, RecordIs, Transaction, UpdateRecord


def noted(known: Record | None, new: Record, now_ms: int) -> Transaction:
    """Write a record, or change one that is known. Key `note:{kind}:{id}:{version}`, of which the fields get the next.

    Of two who change the same at once, one does; the other is told that it was done already (`applied` is False)."""
    version = known.number("version") + 1 if known else 0
    fields = {**new.fields, "version": version}
    return Transaction(
        key=f"note:{new.kind}:{new.id}:{version}",
        kind=Kind.NOTE,
        legs=(),
        fingerprint=digest("note", new.kind, new.id, version),
        at_ms=now_ms,
        guards=(RecordIs(known.kind, known.id, (known.state,), {"version": version - 1}),) if known else (),
        effects=(
            UpdateRecord(new.kind, new.id, new.state, fields)
            if known
            else PutRecord(Record(new.kind, new.id, new.state, fields)),
        ),
    )
