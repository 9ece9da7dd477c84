"""The half of AdminService that decides what waits for a person."""

from collections.abc import Awaitable

from gollem import units
from gollem.errors import PaymentsOff
from gollem.exchange import Cases
from gollem.payments import Payments, stored_id
from gollem.rpc import context, encode_admin, fields
from gollem.rpc.pb import admin_pb2

_MAX_REASON_CHARS = 200


class CaseCalls:
    """Decodes, calls the use case, encodes. Every call needs a key of role operator, whose account signs for it."""

    def __init__(self, cases: Cases, payments: Payments | None) -> None:
        self._cases = cases
        self._with = payments

    @property
    def _payments(self) -> Payments:
        if self._with is None:
            raise PaymentsOff("this exchange takes and pays no money: its operator has not set payments.gateway")
        return self._with

    async def list(self, request: admin_pb2.ListCasesRequest) -> admin_pb2.ListCasesResponse:
        context.operator()
        return admin_pb2.ListCasesResponse(
            cases=[encode_admin.case(record) for record in await self._cases.waiting(request.kind)]
        )

    async def refund(self, request: admin_pb2.RefundPurchaseRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        account, purchase_id = fields.account(request.account, "account"), request.purchase_id
        return await _done(
            self._payments.refunds.create(
                fields.account(request.refund_id, "refund_id"),
                stored_id(account, fields.account(purchase_id, "purchase_id")),
                fields.cents(request.amount_usd, "amount_usd"),
                operator,
            )
        )

    async def set_frozen(self, request: admin_pb2.SetFrozenRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        case_id, account = fields.account(request.case_id, "case_id"), fields.account(request.account, "account")
        reason = fields.name(request.reason, "reason")
        return await _done(self._cases.set_frozen(case_id, account, request.frozen, reason, operator))

    async def propose(self, request: admin_pb2.ProposeAdjustmentRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        return await _done(
            self._cases.propose(
                fields.account(request.ticket, "ticket"),
                fields.ledger_account(request.ledger_account, "ledger_account"),
                fields.signed_atoms(request.amount, "amount"),
                request.reason[:_MAX_REASON_CHARS],
                operator,
            )
        )

    async def approve(self, request: admin_pb2.ApproveAdjustmentRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        return await _done(self._cases.approve(fields.account(request.ticket, "ticket"), operator))

    async def reject(self, request: admin_pb2.RejectAdjustmentRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        return await _done(self._cases.reject(fields.account(request.ticket, "ticket"), operator))

    async def claw_back(self, request: admin_pb2.ClawBackRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        return await _done(
            self._cases.claw_back(
                fields.account(request.case_id, "case_id"),
                fields.account(request.provider_id, "provider_id"),
                fields.positive_atoms(request.amount, "amount"),
                fields.account(request.to_account, "to_account") if request.to_account else "",
                operator,
            )
        )

    async def revive(self, request: admin_pb2.ReviveEventRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        return await _done(self._payments.inbox.revive(fields.name(request.event_id, "event_id"), operator))

    async def write_off(self, request: admin_pb2.WriteOffDisputeRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        dispute_id = fields.account(request.dispute_id, "dispute_id")
        return await _done(self._payments.disputes.write_off(dispute_id, operator))

    async def resolve(self, request: admin_pb2.ResolveMovementRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        txn_id = fields.account(request.txn_id, "txn_id")
        account = fields.ledger_account(request.ledger_account, "ledger_account")
        return await _done(self._cases.resolve(txn_id, account, operator))

    async def halt_payouts(self, request: admin_pb2.HaltPayoutsRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        return await _done(self._cases.halt_payouts(fields.name(request.reason, "reason"), operator))

    async def resume_payouts(self, request: admin_pb2.ResumePayoutsRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        return await _done(self._cases.resume_payouts(operator))

    async def take_back(self, request: admin_pb2.TakeBackPayoutRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        payout_id = fields.account(request.payout_id, "payout_id")
        return await _done(self._payments.payouts.take_back(payout_id, operator))

    async def close_alert(self, request: admin_pb2.CloseAlertRequest) -> admin_pb2.CaseResponse:
        operator = context.operator()
        return await _done(self._cases.close_alert(fields.name(request.alert_id, "alert_id"), operator))

    async def report(self, request: admin_pb2.PaymentsReportRequest) -> admin_pb2.PaymentsReportResponse:
        context.operator()
        day, books = fields.day(request.day, "day"), self._payments.books
        await books.match_movements()  # what came a moment ago is booked first
        report = await books.report(day)
        return admin_pb2.PaymentsReportResponse(
            ok=not report.findings,
            rows=[
                admin_pb2.PaymentsReportRow(
                    kind=row.kind,
                    count=row.count,
                    amount_usd=units.format_cents(row.cents),
                    fees_usd=units.format_cents(row.fee_cents),
                    booked_usd=units.format_usd(row.booked_atoms),
                )
                for row in report.rows
            ],
            findings=report.findings[:100],
            opening_usd=_usd(report.opening_cents),
            closing_usd=_usd(report.closing_cents),
        )


def _usd(cents: int | None) -> str:
    """Empty where it is not known."""
    return "" if cents is None else units.format_cents(cents)


async def _done(applied: Awaitable[bool]) -> admin_pb2.CaseResponse:
    return admin_pb2.CaseResponse(replayed=not await applied)
