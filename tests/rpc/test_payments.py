"""Dollars in and out over the API, with the payment provider that the exchange plays itself; webhooks included."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest
from grpclib.client import Channel

from gollem.app import App
from gollem.clock import utc_day
from gollem.config import load
from gollem.identity import Role, open_key_store
from gollem.ledger import records
from gollem.rpc.pb import admin_pb2, common_pb2, credit_pb2, payout_pb2, provider_pb2
from tests.rpc.conftest import SETTINGS, Site, order, refused
from tests.until import until_answer

QUICK = {
    "payments.inbox_interval_ms": "20",
    "payments.payout_interval_ms": "100",
    "payments.delay_days": "0",
    "payments.least_payout_cents": "1",
}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def buy(site: Site, http: aiohttp.ClientSession, amount_usd: str = "2.00", **more: object) -> str:
    """A purchase that is paid and credited."""
    request = credit_pb2.CreatePaymentIntentRequest(purchase_id="first", amount_usd=amount_usd, **more)
    made = await site.credit.CreatePaymentIntent(request, metadata=site.alice)
    async with http.post(urljoin(made.pay_url, "/local/pay"), json={"client_secret": made.client_secret}) as answer:
        assert answer.status == 200
    await until_answer(lambda: _is(site, "first", "credited"))
    return str(made.client_secret)


async def _is(site: Site, purchase_id: str, state: str) -> bool:
    request = credit_pb2.GetPurchaseRequest(purchase_id=purchase_id)
    found = await site.credit.GetPurchase(request, metadata=site.alice)
    return bool(found.state == state)


async def balance(site: Site, key: dict[str, str]) -> credit_pb2.BalanceResponse:
    return await site.credit.Balance(credit_pb2.BalanceRequest(), metadata=key)


@pytest.mark.parametrize("site", [QUICK], indirect=True)
async def test_a_paid_purchase_is_credited_and_its_secret_is_told_once(site: Site, http: aiohttp.ClientSession) -> None:
    assert await buy(site, http)
    assert (await balance(site, site.alice)).available == "2000.00000000"
    again = await site.credit.CreatePaymentIntent(
        credit_pb2.CreatePaymentIntentRequest(purchase_id="first", amount_usd="2.00"), metadata=site.alice
    )
    assert (again.client_secret, again.pay_url, again.credits) == ("", "", "2000.00000000")
    assert (await balance(site, site.alice)).available == "2000.00000000"
    another = credit_pb2.CreatePaymentIntentRequest(purchase_id="first", amount_usd="3.00")
    _, reason, _ = await refused(site.credit.CreatePaymentIntent(another, metadata=site.alice))
    assert reason == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize("site", [QUICK], indirect=True)
async def test_what_two_users_call_alike_are_two_purchases(site: Site, http: aiohttp.ClientSession) -> None:
    await buy(site, http)
    mine = credit_pb2.GetPurchaseRequest(purchase_id="first")
    assert (await refused(site.credit.GetPurchase(mine, metadata=site.bob)))[1] == "UNKNOWN_PURCHASE"
    request = credit_pb2.CreatePaymentIntentRequest(purchase_id="first", amount_usd="9.00")
    assert (await site.credit.CreatePaymentIntent(request, metadata=site.bob)).client_secret
    assert (await balance(site, site.bob)).available == "0.00000000"


@pytest.mark.parametrize("site", [QUICK], indirect=True)
async def test_earnings_go_to_the_bank_and_the_trail_shows_from_where(site: Site, http: aiohttp.ClientSession) -> None:
    await buy(site, http)
    await site.sell("p1")
    await site.market.Match(order("o1"), metadata=site.alice)
    usage = common_pb2.Usage(prompt_tokens=100, completion_tokens=100)
    settled = provider_pb2.SettleRequest(
        provider_id="p1", order_id="o1", usage=usage, outcome=provider_pb2.SettleRequest.COMPLETED
    )
    await site.provider.Settle(settled, metadata=site.p1)
    wanted = payout_pb2.RequestPayoutRequest(payout_id="mine")
    assert (await refused(site.payout.RequestPayout(wanted, metadata=site.p1)))[1] == "NOT_ONBOARDED"
    started = await site.payout.StartOnboarding(payout_pb2.StartOnboardingRequest(country="US"), metadata=site.p1)
    async with http.get(started.url) as page:
        assert page.status == 200

    async def earnings() -> payout_pb2.Earnings:
        return await site.payout.GetEarnings(payout_pb2.GetEarningsRequest(), metadata=site.p1)

    async def is_payable() -> bool:
        return (await earnings()).payable_usd == "0.19"

    await until_answer(is_payable)

    async def is_onboarded() -> bool:
        again = payout_pb2.StartOnboardingRequest(country="US")
        return bool((await site.payout.StartOnboarding(again, metadata=site.p1)).ready)

    await until_answer(is_onboarded)
    asked = await site.payout.RequestPayout(wanted, metadata=site.p1)
    assert asked.amount_usd == "0.19"
    assert (await site.payout.RequestPayout(wanted, metadata=site.p1)).payout_id == asked.payout_id

    async def is_paid() -> bool:
        return (await earnings()).paid_usd == "0.19"

    await until_answer(is_paid)
    listed = await site.payout.ListPayouts(payout_pb2.ListPayoutsRequest(), metadata=site.p1)
    assert [(one.payout_id, one.state) for one in listed.payouts] == [(asked.payout_id, "paid")]
    request = payout_pb2.GetPayoutRequest(payout_id=asked.payout_id)
    trail = await site.payout.GetPayout(request, metadata=site.p1)
    assert [step.kind for step in trail.steps] == ["payout_initiated", "payout_transferred", "payout_paid"]
    assert [(day.orders, day.payable) for day in trail.days] == [(1, "190.00000000")]
    request.day = trail.days[0].day
    orders = (await site.payout.GetPayout(request, metadata=site.p1)).orders
    assert [one.order_id for one in orders] == ["o1"]
    assert (await refused(site.payout.GetPayout(request, metadata=site.p2)))[1] == "UNKNOWN_PAYOUT"
    month = trail.days[0].day[:6]
    for form in ("csv", "html"):
        statement = payout_pb2.GetStatementRequest(month=month, format=form)
        assert "0.19" in (await site.payout.GetStatement(statement, metadata=site.p1)).content
    audit = await site.admin.Audit(admin_pb2.AuditRequest(), metadata=site.ops)
    assert audit.ok


@pytest.mark.parametrize("site", [QUICK], indirect=True)
async def test_a_day_of_the_payment_provider_is_in_the_ledger_to_the_cent(
    site: Site, http: aiohttp.ClientSession
) -> None:
    await buy(site, http)
    refund = admin_pb2.RefundPurchaseRequest(refund_id="r1", account="alice", purchase_id="first", amount_usd="0.50")
    await site.admin.RefundPurchase(refund, metadata=site.ops)
    assert (await balance(site, site.alice)).available == "1500.00000000"
    found = await site.credit.GetPurchase(credit_pb2.GetPurchaseRequest(purchase_id="first"), metadata=site.alice)
    assert (found.refunded_usd, found.state) == ("0.50", "credited")
    assert site.app.payments is not None
    await site.app.payments.books.match_movements()
    report = await site.admin.PaymentsReport(
        admin_pb2.PaymentsReportRequest(day=utc_day(found.created_at_ms)), metadata=site.ops
    )
    assert (report.ok, list(report.findings)) == (True, [])
    amounts = {row.kind: (row.count, row.amount_usd) for row in report.rows}
    assert amounts["charge"] == (1, "2.00")
    assert amounts["refund"] == (1, "-0.50")


async def test_operators_decide_what_waits(site: Site) -> None:
    await site.fund()
    proposal = admin_pb2.ProposeAdjustmentRequest(ticket="t1", ledger_account="U:alice", amount="5", reason="goodwill")
    await site.admin.ProposeAdjustment(proposal, metadata=site.ops)
    assert (await site.admin.ProposeAdjustment(proposal, metadata=site.ops)).replayed
    cases = await site.admin.ListCases(admin_pb2.ListCasesRequest(kind="adjustment"), metadata=site.ops)
    assert [(case.id, case.state) for case in cases.cases] == [("t1", "PROPOSED")]
    approve = admin_pb2.ApproveAdjustmentRequest(ticket="t1")
    assert (await refused(site.admin.ApproveAdjustment(approve, metadata=site.ops)))[1] == "FORBIDDEN"
    other = await site.key("other-ops", Role.OPERATOR)
    await site.admin.ApproveAdjustment(approve, metadata=other)
    assert (await balance(site, site.alice)).available == "1005.00000000"
    freeze = admin_pb2.SetFrozenRequest(case_id="f1", account="alice", frozen=True, reason="looked odd")
    await site.admin.SetFrozen(freeze, metadata=site.ops)
    await site.sell("p1")
    assert (await refused(site.market.Match(order("o1"), metadata=site.alice)))[1] == "ACCOUNT_FROZEN"
    freeze.frozen, freeze.case_id = False, "f2"
    await site.admin.SetFrozen(freeze, metadata=site.ops)
    await site.market.Match(order("o1"), metadata=site.alice)


async def test_decisions_keep_who_made_them(site: Site) -> None:
    """And what is not to be is undone: a proposal is rejected, a provider's fraud is taken back."""
    ledger = site.app.payments.statements._ledger if site.app.payments else None
    assert ledger is not None
    proposal = admin_pb2.ProposeAdjustmentRequest(ticket="t1", ledger_account="U:alice", amount="5", reason="goodwill")
    await site.admin.ProposeAdjustment(proposal, metadata=site.ops)
    reject = admin_pb2.RejectAdjustmentRequest(ticket="t1")
    assert not (await site.admin.RejectAdjustment(reject, metadata=site.ops)).replayed
    assert (await site.admin.RejectAdjustment(reject, metadata=site.ops)).replayed
    other = await site.key("other-ops", Role.OPERATOR)
    approve = admin_pb2.ApproveAdjustmentRequest(ticket="t1")
    assert (await refused(site.admin.ApproveAdjustment(approve, metadata=other)))[1] == "WRONG_STATE"
    rejected = await ledger.find_record(records.ADJUSTMENT, "t1")
    assert rejected
    assert (rejected.state, rejected.text("proposer"), rejected.text("rejected_by")) == ("REJECTED", "ops", "ops")

    claw = admin_pb2.ClawBackRequest(case_id="c1", provider_id="p1", amount="3", to_account="alice")
    assert not (await site.admin.ClawBack(claw, metadata=other)).replayed
    assert (await site.admin.ClawBack(claw, metadata=site.ops)).replayed
    assert (await balance(site, site.alice)).available == "3.00000000"
    freeze = admin_pb2.SetFrozenRequest(case_id="f1", account="alice", frozen=True, reason="looked odd")
    await site.admin.SetFrozen(freeze, metadata=other)
    entries = [await ledger.find_entry(key) for key in ("claw:c1", "freeze:f1")]
    assert [entry.detail for entry in entries if entry] == ["other-ops", "looked odd (by other-ops)"]


async def test_nothing_is_decided_about_nobody(site: Site) -> None:
    """Who has no key any more, and a journal, is somebody."""
    proposal = admin_pb2.ProposeAdjustmentRequest(ticket="t1", ledger_account="U:alcie", amount="5", reason="goodwill")
    _, reason, _ = await refused(site.admin.ProposeAdjustment(proposal, metadata=site.ops))
    assert reason == "INVALID_FIELD"
    grant = admin_pb2.GrantCreditsRequest(grant_id="g1", account="alcie", amount="1")
    await site.admin.GrantCredits(grant, metadata=site.ops)
    await site.admin.ProposeAdjustment(proposal, metadata=site.ops)


async def test_operators_halt_payouts_and_let_them_go_on(site: Site) -> None:
    halt = admin_pb2.HaltPayoutsRequest(reason="looks odd")
    assert [(await site.admin.HaltPayouts(halt, metadata=site.ops)).replayed for _ in range(2)] == [False, True]
    cases = (await site.admin.ListCases(admin_pb2.ListCasesRequest(), metadata=site.ops)).cases
    assert (cases[0].kind, cases[0].state) == ("breaker", "HALTED")
    assert "looks odd" in cases[0].about
    resume = admin_pb2.ResumePayoutsRequest()
    assert [(await site.admin.ResumePayouts(resume, metadata=site.ops)).replayed for _ in range(2)] == [False, True]
    assert not (await site.admin.ListCases(admin_pb2.ListCasesRequest(), metadata=site.ops)).cases


async def test_an_exchange_without_payments_says_so(tmp_path: Path) -> None:
    app = App(load(overrides=SETTINGS | {"storage.data": str(tmp_path), "payments.gateway": "none"}))
    await app.start()
    keys = await open_key_store(tmp_path)
    channel = Channel("127.0.0.1", app.port)
    site = Site(app, channel, keys)
    await site.connect()
    answers = [
        await refused(site.credit.CreatePaymentIntent(credit_pb2.CreatePaymentIntentRequest(), metadata=site.alice)),
        await refused(site.payout.GetEarnings(payout_pb2.GetEarningsRequest(), metadata=site.p1)),
    ]
    channel.close()
    await keys.close()
    await app.stop()
    assert [answer[:2] for answer in answers] == [("UNIMPLEMENTED", "PAYMENTS_OFF")] * 2
