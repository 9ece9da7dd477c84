"""What must be refused of the calls about dollars: good requests, and rows for those that are not."""

from collections.abc import Callable, Iterator

from google.protobuf.message import Message

from gollem.rpc.pb import admin_pb2, credit_pb2, payout_pb2
from tests.rpc.bad_rows import ACCOUNTS, NO_DECIMALS, Row, each, others

_NO_CENTS = ["", *NO_DECIMALS, "1.001", "0.00000001"]
_NOT_SOLD = ["0", "0.99", "1000.01", "999999999999"]
_DAYS = ["20270230", "2027-01-01", "20271301", "19691231", "day", "202701011", "２０２７０１０１", "d" * 100_000]
_URLS = ["http://example.com", "javascript:alert(1)", "https://", "https://a b", "ftp://x", "https://é", "x" * 100_000]
_NAMES = ["\x00", "a\n", "é", "n" * 201, "n" * 100_000]

GOOD: dict[str, Message] = {
    "CreatePaymentIntent": credit_pb2.CreatePaymentIntentRequest(purchase_id="p", amount_usd="1.00"),
    "GetPurchase": credit_pb2.GetPurchaseRequest(purchase_id="none"),
    "SetTopUp": credit_pb2.SetTopUpRequest(enabled=True, threshold="100", amount_usd="1.00", monthly_cap_usd="10.00"),
    "GetTopUp": credit_pb2.GetTopUpRequest(),
    "SetBalanceAlert": credit_pb2.SetBalanceAlertRequest(threshold="100"),
    "StartOnboarding": payout_pb2.StartOnboardingRequest(provider_id="p1", country="US"),
    "GetEarnings": payout_pb2.GetEarningsRequest(provider_id="p1"),
    "RequestPayout": payout_pb2.RequestPayoutRequest(provider_id="p1", payout_id="po"),
    "ListPayouts": payout_pb2.ListPayoutsRequest(provider_id="p1"),
    "GetPayout": payout_pb2.GetPayoutRequest(payout_id="none"),
    "GetStatement": payout_pb2.GetStatementRequest(provider_id="p1", month="202610", format="csv"),
    "ListCases": admin_pb2.ListCasesRequest(),
    "RefundPurchase": admin_pb2.RefundPurchaseRequest(
        refund_id="r", account="alice", purchase_id="none", amount_usd="1.00"
    ),
    "SetFrozen": admin_pb2.SetFrozenRequest(case_id="c", account="bob", frozen=True, reason="test"),
    "ProposeAdjustment": admin_pb2.ProposeAdjustmentRequest(
        ticket="t", ledger_account="U:alice", amount="1", reason="goodwill"
    ),
    "ApproveAdjustment": admin_pb2.ApproveAdjustmentRequest(ticket="none"),
    "RejectAdjustment": admin_pb2.RejectAdjustmentRequest(ticket="none"),
    "ClawBack": admin_pb2.ClawBackRequest(case_id="k", provider_id="p1", amount="1", to_account="alice"),
    "ReviveEvent": admin_pb2.ReviveEventRequest(event_id="none"),
    "WriteOffDispute": admin_pb2.WriteOffDisputeRequest(dispute_id="none"),
    "ResolveMovement": admin_pb2.ResolveMovementRequest(txn_id="none", ledger_account="U:alice"),
    "CloseAlert": admin_pb2.CloseAlertRequest(alert_id="none"),
    "HaltPayouts": admin_pb2.HaltPayoutsRequest(reason="test"),
    "ResumePayouts": admin_pb2.ResumePayoutsRequest(),
    "TakeBackPayout": admin_pb2.TakeBackPayoutRequest(payout_id="none"),
    "PaymentsReport": admin_pb2.PaymentsReportRequest(day="20261001"),
}

# What a good request is answered with where it is not OK: it names something that is not there.
GOOD_STATUS = {
    "GetPurchase": "NOT_FOUND",
    "GetPayout": "NOT_FOUND",
    "TakeBackPayout": "NOT_FOUND",
    "SetTopUp": "FAILED_PRECONDITION",  # no card was kept
    "RequestPayout": "FAILED_PRECONDITION",  # not onboarded
    **dict.fromkeys(
        (
            "RefundPurchase",
            "ApproveAdjustment",
            "RejectAdjustment",
            "ReviveEvent",
            "WriteOffDispute",
            "ResolveMovement",
            "CloseAlert",
        ),
        "FAILED_PRECONDITION",
    ),
}

_ADMIN = (
    "ListCases", "RefundPurchase", "SetFrozen", "ProposeAdjustment", "ApproveAdjustment", "RejectAdjustment",
    "ClawBack", "ReviveEvent", "WriteOffDispute", "ResolveMovement", "CloseAlert", "HaltPayouts", "ResumePayouts",
    "TakeBackPayout", "PaymentsReport",
)  # fmt: skip
CALLERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("CreatePaymentIntent", "SetTopUp", "GetTopUp", "SetBalanceAlert"), ("alice",)),
    **dict.fromkeys(("StartOnboarding", "RequestPayout"), ("p1",)),
    **dict.fromkeys(("GetPurchase",), ("alice", "p1", "ops")),
    **dict.fromkeys(("GetEarnings", "ListPayouts", "GetStatement"), ("p1", "ops")),
    "GetPayout": ("p1", "alice", "ops"),
    **dict.fromkeys(_ADMIN, ("ops",)),
}

EMPTY: dict[str, str] = {
    "CreatePaymentIntent": "purchase_id",
    "GetPurchase": "purchase_id",
    **dict.fromkeys(("SetTopUp", "GetTopUp", "GetEarnings", "ListPayouts", "ListCases", "ResumePayouts"), ""),
    "SetBalanceAlert": "threshold",
    "StartOnboarding": "country",
    "RequestPayout": "payout_id",
    "GetPayout": "payout_id",
    "GetStatement": "format",
    "RefundPurchase": "account",
    "SetFrozen": "case_id",
    "ProposeAdjustment": "ticket",
    "ApproveAdjustment": "ticket",
    "RejectAdjustment": "ticket",
    "ClawBack": "case_id",
    "ReviveEvent": "event_id",
    "WriteOffDispute": "dispute_id",
    "ResolveMovement": "txn_id",
    "CloseAlert": "alert_id",
    "HaltPayouts": "reason",
    "TakeBackPayout": "payout_id",
    "PaymentsReport": "day",
}
# Fields for which any value will do.
FREE = {"CreatePaymentIntent.keep_card", "SetTopUp.enabled", "SetFrozen.frozen"}


def _purchases() -> Iterator[Row]:
    base = GOOD["CreatePaymentIntent"]
    yield from each(base, "purchase_id", ["", *ACCOUNTS])
    yield from each(base, "amount_usd", [*_NO_CENTS, *_NOT_SOLD])


def _found_purchases() -> Iterator[Row]:
    base = GOOD["GetPurchase"]
    yield from each(base, "purchase_id", ["", *ACCOUNTS])
    yield from others(base, "purchase_id", ["none", "P"], "NOT_FOUND", "UNKNOWN_PURCHASE")
    yield from each(base, "account", ACCOUNTS)
    yield from others(base, "account", ["bob", "p2", "nobody"], "PERMISSION_DENIED", "FORBIDDEN")


def _top_ups() -> Iterator[Row]:
    base = GOOD["SetTopUp"]
    yield from each(base, "threshold", ["", *NO_DECIMALS, "0"])
    yield from each(base, "amount_usd", [*_NO_CENTS, *_NOT_SOLD])
    yield from each(base, "monthly_cap_usd", [*_NO_CENTS, "0", "0.99"])
    yield Row("no card was kept", base, "FAILED_PRECONDITION", "WRONG_STATE")


def _owned(method: str) -> Iterator[Row]:
    """Providers act for themselves."""
    yield from each(GOOD[method], "provider_id", ACCOUNTS)
    yield from others(GOOD[method], "provider_id", ["p2", "alice", "nobody"], "PERMISSION_DENIED", "FORBIDDEN")


def _onboardings() -> Iterator[Row]:
    base = GOOD["StartOnboarding"]
    yield from _owned("StartOnboarding")
    yield from each(base, "country", ["", "D", "USA", "U1", "ÜS", "ZZ", "KP", "c" * 100_000])
    yield from each(base, "return_url", _URLS)


def _requests() -> Iterator[Row]:
    yield from _owned("RequestPayout")
    yield from each(GOOD["RequestPayout"], "payout_id", ["", *ACCOUNTS])
    yield Row("not onboarded", GOOD["RequestPayout"], "FAILED_PRECONDITION", "NOT_ONBOARDED")


def _lists() -> Iterator[Row]:
    yield from _owned("ListPayouts")
    yield from each(GOOD["ListPayouts"], "page_size", [-1, 101, 2**31 - 1, -(2**31)])
    yield from each(GOOD["ListPayouts"], "page_token", ["x", "é", "t" * 257, "t" * 100_000])


def _trails() -> Iterator[Row]:
    base = GOOD["GetPayout"]
    yield from each(base, "payout_id", ["", *ACCOUNTS])
    yield from others(base, "payout_id", ["none"], "NOT_FOUND", "UNKNOWN_PAYOUT")
    yield from each(base, "day", _DAYS)
    yield from each(base, "page_token", ["é", "t" * 257, "t" * 100_000])


def _statements() -> Iterator[Row]:
    yield from _owned("GetStatement")
    yield from each(GOOD["GetStatement"], "month", ["", "20270101", "202713", "2027-01", "month", "m" * 100_000])
    yield from each(GOOD["GetStatement"], "format", ["", "pdf", "CSV", "f" * 100_000])


def _refunds() -> Iterator[Row]:
    base = GOOD["RefundPurchase"]
    for name in ("refund_id", "account", "purchase_id"):
        yield from each(base, name, ["", *ACCOUNTS])
    yield from each(base, "amount_usd", [*_NO_CENTS, "0"])
    yield from others(base, "purchase_id", ["none"], "FAILED_PRECONDITION", "WRONG_STATE")


def _freezes() -> Iterator[Row]:
    base = GOOD["SetFrozen"]
    for name in ("case_id", "account"):
        yield from each(base, name, ["", *ACCOUNTS])
    yield from each(base, "reason", ["", *_NAMES])
    yield from each(base, "account", ["nobody", "p1-"])


def _clawbacks() -> Iterator[Row]:
    base = GOOD["ClawBack"]
    for name in ("case_id", "provider_id"):
        yield from each(base, name, ["", *ACCOUNTS])
    yield from each(base, "provider_id", ["nobody"])
    yield from each(base, "to_account", [*ACCOUNTS, "nobody"])
    yield from each(base, "amount", ["", *NO_DECIMALS, "0"])


def _revivals() -> Iterator[Row]:
    yield from each(GOOD["ReviveEvent"], "event_id", ["", *_NAMES])
    yield from others(GOOD["ReviveEvent"], "event_id", ["none", "a b"], "FAILED_PRECONDITION", "WRONG_STATE")


def _proposals() -> Iterator[Row]:
    base = GOOD["ProposeAdjustment"]
    yield from each(base, "ticket", ["", *ACCOUNTS])
    foreign = ["", "alice", "U:", "H:mine", "U:a b", "R:fee:1", "E:adjust", "D:alice", "X:none", "u" * 100_000]
    yield from each(base, "ledger_account", foreign[5:8], "account")
    yield from each(base, "ledger_account", [foreign[0], foreign[4], foreign[9]])
    yield from each(base, "ledger_account", ["U:nobody", "P:nobody"])
    amounts = [text for text in NO_DECIMALS if text != "-1"]
    yield from each(base, "amount", ["", *amounts, "--1", "-0", "0", "-"])
    yield from each(base, "reason", ["", "because", "r" * 100_000])


def _named(method: str, field: str, reason: str = "WRONG_STATE") -> Iterator[Row]:
    """Something by its name, which is no name, or that of nothing."""
    yield from each(GOOD[method], field, ["", *ACCOUNTS])
    yield from others(GOOD[method], field, ["none"], "FAILED_PRECONDITION", reason)


def _resolutions() -> Iterator[Row]:
    yield from _named("ResolveMovement", "txn_id")
    yield from each(GOOD["ResolveMovement"], "ledger_account", ["", "U:a b", "U:nobody", "u" * 100_000])


def _alerts() -> Iterator[Row]:
    yield from each(GOOD["CloseAlert"], "alert_id", ["", *_NAMES])
    yield from others(GOOD["CloseAlert"], "alert_id", ["none", "a b"], "FAILED_PRECONDITION", "WRONG_STATE")


def _taken_back() -> Iterator[Row]:
    yield from each(GOOD["TakeBackPayout"], "payout_id", ["", *ACCOUNTS])
    yield from others(GOOD["TakeBackPayout"], "payout_id", ["none"], "NOT_FOUND", "UNKNOWN_PAYOUT")


_BUILDERS: dict[str, Callable[[], Iterator[Row]]] = {
    "CreatePaymentIntent": _purchases,
    "GetPurchase": _found_purchases,
    "SetTopUp": _top_ups,
    "SetBalanceAlert": lambda: each(GOOD["SetBalanceAlert"], "threshold", ["", *NO_DECIMALS, "0"]),
    "StartOnboarding": _onboardings,
    "GetEarnings": lambda: _owned("GetEarnings"),
    "RequestPayout": _requests,
    "ListPayouts": _lists,
    "GetPayout": _trails,
    "GetStatement": _statements,
    "ListCases": lambda: each(GOOD["ListCases"], "kind", ["hold", "Alert", "alert ", "k" * 100_000]),
    "RefundPurchase": _refunds,
    "SetFrozen": _freezes,
    "ProposeAdjustment": _proposals,
    "ApproveAdjustment": lambda: _named("ApproveAdjustment", "ticket"),
    "RejectAdjustment": lambda: _named("RejectAdjustment", "ticket"),
    "ClawBack": _clawbacks,
    "ReviveEvent": _revivals,
    "WriteOffDispute": lambda: _named("WriteOffDispute", "dispute_id"),
    "ResolveMovement": _resolutions,
    "CloseAlert": _alerts,
    "HaltPayouts": lambda: each(GOOD["HaltPayouts"], "reason", ["", *_NAMES]),
    "TakeBackPayout": _taken_back,
    "PaymentsReport": lambda: each(GOOD["PaymentsReport"], "day", ["", *_DAYS]),
}
ROWS: dict[str, list[Row]] = {name: list(build()) for name, build in _BUILDERS.items()} | {
    "GetTopUp": [],
    "ResumePayouts": [],
}
