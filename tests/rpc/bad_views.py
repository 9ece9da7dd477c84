"""What must be refused of the calls that people look through: good requests, and rows for those that are not."""

from collections.abc import Iterator

from google.protobuf.message import Message

from gollem.rpc.pb import account_pb2, credit_pb2, market_pb2, operator_pb2, payout_pb2, provider_pb2
from tests.rpc.bad_rows import ACCOUNTS, ASK_IDS, INT32, MODELS, NO_DECIMALS, Row, each, others

GOOD: dict[str, Message] = {
    "ListTrades": market_pb2.ListTradesRequest(),
    "GetRefusals": market_pb2.GetRefusalsRequest(),
    "ListAsks": provider_pb2.ListAsksRequest(provider_id="p1"),
    "WhyUnmatched": provider_pb2.WhyUnmatchedRequest(provider_id="p1"),
    "GetSpending": credit_pb2.GetSpendingRequest(),
    "GetSpendLimit": credit_pb2.GetSpendLimitRequest(),
    "SetSpendLimit": credit_pb2.SetSpendLimitRequest(per_day="1000"),
    "GetOnboarding": payout_pb2.GetOnboardingRequest(provider_id="p1"),
    "WhoAmI": account_pb2.WhoAmIRequest(),
    "ListOwnKeys": account_pb2.ListOwnKeysRequest(),
    "CreateOwnKey": account_pb2.CreateOwnKeyRequest(account="alice"),
    "RevokeOwnKey": account_pb2.RevokeOwnKeyRequest(key_id="0123456789abcdef"),
    "GetOverview": operator_pb2.GetOverviewRequest(),
}

_EVERYBODY = ("alice", "p1", "ops")
CALLERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("ListTrades", "GetRefusals", "GetSpending", "WhoAmI", "ListOwnKeys", "RevokeOwnKey"), _EVERYBODY),
    **dict.fromkeys(("ListAsks", "WhyUnmatched", "GetOnboarding"), ("p1", "ops")),
    **dict.fromkeys(("GetSpendLimit", "SetSpendLimit", "CreateOwnKey"), ("alice",)),
    "GetOverview": ("ops",),
}

EMPTY: dict[str, str] = dict.fromkeys(GOOD, "") | {"CreateOwnKey": "account", "RevokeOwnKey": "key_id"}


def _models(method: str) -> Iterator[Row]:
    yield from others(GOOD[method], "model", MODELS, "NOT_FOUND", "UNKNOWN_MODEL")


def _trades() -> Iterator[Row]:
    yield from _models("ListTrades")
    yield from each(GOOD["ListTrades"], "limit", [-1, 501, *INT32])


def _own(method: str) -> Iterator[Row]:
    """A provider id that is none, and those of others."""
    yield from each(GOOD[method], "provider_id", ACCOUNTS)
    yield from others(GOOD[method], "provider_id", ["p2", "P1", "alice", "nobody"], "PERMISSION_DENIED", "FORBIDDEN")


def _chances() -> Iterator[Row]:
    yield from _own("WhyUnmatched")
    yield from each(GOOD["WhyUnmatched"], "ask_id", ASK_IDS)


def _spending() -> Iterator[Row]:
    base = GOOD["GetSpending"]
    yield from each(base, "account", ACCOUNTS)
    yield from others(base, "account", ["bob", "p1", "ops", "nobody"], "PERMISSION_DENIED", "FORBIDDEN")
    yield from each(base, "days", [-1, 32, *INT32])


def _limits() -> Iterator[Row]:
    for name in ("per_day", "per_month"):
        yield from each(GOOD["SetSpendLimit"], name, [*NO_DECIMALS, "0", "0.00000000"])


def _new_keys() -> Iterator[Row]:
    yield from each(GOOD["CreateOwnKey"], "account", ["", *ACCOUNTS])
    yield from others(GOOD["CreateOwnKey"], "account", ["bob", "ops", "ALICE"], "PERMISSION_DENIED", "FORBIDDEN")


ROWS: dict[str, list[Row]] = {
    "ListTrades": list(_trades()),
    "GetRefusals": list(_models("GetRefusals")),
    "ListAsks": list(_own("ListAsks")),
    "WhyUnmatched": list(_chances()),
    "GetSpending": list(_spending()),
    "SetSpendLimit": list(_limits()),
    "GetOnboarding": list(_own("GetOnboarding")),
    "CreateOwnKey": list(_new_keys()),
    "RevokeOwnKey": list(each(GOOD["RevokeOwnKey"], "key_id", ["", *ACCOUNTS])),
    # Without fields.
    "GetSpendLimit": [],
    "WhoAmI": [],
    "ListOwnKeys": [],
    "GetOverview": [],
}
