"""What keys, cases and checks are, as messages."""

from gollem import units
from gollem.clock import utc_minute
from gollem.identity import KeyRecord
from gollem.ledger import Check, Record
from gollem.rpc.pb import admin_pb2, operator_pb2

_HIDDEN = ("version",)


def key_info(key: KeyRecord) -> admin_pb2.KeyInfo:
    return admin_pb2.KeyInfo(
        key_id=key.key_id,
        account=key.account,
        role=key.role.value,
        created_at_ms=key.created_at_ms,
        revoked=key.revoked,
    )


def check_result(check: Check, record: Record) -> operator_pb2.CheckResult:
    return operator_pb2.CheckResult(
        check=check.value,
        ok=record.state == "OK",
        at_ms=record.number("at_ms"),
        findings=record.number("findings"),
        first_finding=record.text("first_finding"),
    )


def case(record: Record) -> admin_pb2.Case:
    told = (_told(name, value) for name, value in sorted(record.fields.items()) if name not in _HIDDEN and value != "")
    return admin_pb2.Case(kind=record.kind, id=record.id, state=record.state, about=", ".join(told))


def _told(name: str, value: str | int) -> str:
    """A field for people: amounts in USD, times as such."""
    if isinstance(value, int) and name.endswith("_atoms"):
        return f"{name.removesuffix('_atoms')} {units.format_usd(value)} USD"
    if isinstance(value, int) and name.endswith("_ms") and value:
        return f"{name.removesuffix('_ms')} {utc_minute(value)}"
    return f"{name} {value}"
