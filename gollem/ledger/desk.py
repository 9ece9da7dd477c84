"""Transactions that depend on what is in the books: read, build, post; read again if somebody was faster.

Whatever was read is guarded by the transaction itself, so that a lost race is refused and never booked on old figures;
the key decides whether it happened already. Nothing here can book anything twice.
"""

from collections.abc import Awaitable, Callable

from gollem.clock import Clock, utc_day
from gollem.errors import CallerError, LedgerUnavailable, StaleRead, WrongState
from gollem.ledger import records, rules
from gollem.ledger.accounts import payable_account, provider_debt, user_account, user_debt
from gollem.ledger.interface import Ledger
from gollem.ledger.refusals import replayed
from gollem.ledger.rules.earnings import last_due_day
from gollem.ledger.types import Earnings, Posted, Record, Transaction
from gollem.units import ATOMS_PER_CENT

MAX_ATTEMPTS = 16
_PAGE = 256

Build = Callable[[], Awaitable[Transaction]]


class _NothingError(Exception):
    """There is nothing to build. Never leaves the desk."""


class Desk:
    """The rare, careful half of the ledger. `delay_days` until earnings are due, `cap_atoms` that adjustments may move
    in a UTC day."""

    def __init__(self, ledger: Ledger, clock: Clock, *, delay_days: int, cap_atoms: int) -> None:
        self._ledger = ledger
        self._clock = clock
        self._delay_days = delay_days
        self._cap_atoms = cap_atoms

    async def credit_purchase(self, purchase_id: str, payment_id: str, received_cents: int, currency: str) -> Posted:
        """The credits of a payment that succeeded; the user's debt is repaid first. Raises InvalidField, WrongState."""

        async def build() -> Transaction:
            bought = await self._record(records.PURCHASE, purchase_id)
            debt_atoms = await self._owed(user_debt(bought.text("user")))
            return rules.purchase(bought, payment_id, received_cents, currency, debt_atoms, self._now())

        return await self._post(f"purchase:{payment_id}", build)

    async def refund(self, refund_id: str, purchase_id: str, amount_atoms: int, operator: str = "") -> Posted:
        """Set credits aside to go back to a card. Raises InvalidField, InsufficientCredits, AccountFrozen."""

        async def build() -> Transaction:
            bought = await self._record(records.PURCHASE, purchase_id)
            return rules.refund_initiated(refund_id, bought, amount_atoms, self._now(), operator)

        fingerprint = rules.refund_fingerprint(purchase_id, amount_atoms)
        return await self._post(f"rf_init:{refund_id}", build, fingerprint)

    async def fail_refund(self, refund_id: str, stripe_id: str) -> Posted:
        """The card did not take it. Raises WrongState."""

        async def build() -> Transaction:
            refund = await self._record(records.REFUND, refund_id)
            bought = await self._record(records.PURCHASE, refund.text("purchase"))
            return rules.refund_failed(refund, bought, stripe_id, self._now())

        return await self._post(f"rf_fail:{stripe_id}", build)

    async def withdraw_dispute(
        self, dispute_id: str, txn_id: str, user: str, amount_atoms: int, fee_atoms: int
    ) -> Posted:
        """Stripe took a disputed amount and its fee."""

        async def build() -> Transaction:
            available_atoms = (await self._ledger.balance(user)).available_atoms
            freezes = await self._ledger.find_record(records.FREEZES, user)
            return rules.dispute_withdrawn(
                dispute_id, txn_id, user, amount_atoms, fee_atoms, available_atoms, freezes, self._now()
            )

        return await self._post(f"stripe:{txn_id}", build)

    async def reinstate_dispute(self, dispute_id: str, txn_id: str, amount_atoms: int, fee_atoms: int = 0) -> Posted:
        """Stripe gave it back, and so much of its fee. The user is active again if that repays all debt and nothing
        else keeps them frozen."""

        async def build() -> Transaction:
            dispute = await self._record(records.DISPUTE, dispute_id)
            user = dispute.text("user")
            available_atoms = await self._ledger.account_atoms(user_account(user))
            debt_atoms = await self._owed(user_debt(user))
            freezes = await self._ledger.find_record(records.FREEZES, user)
            return rules.dispute_reinstated(
                dispute,
                txn_id,
                amount_atoms,
                available_atoms,
                debt_atoms,
                freezes,
                self._now(),
                fee_atoms=fee_atoms,
            )

        return await self._post(f"stripe:{txn_id}", build)

    async def freeze(self, freeze_id: str, user: str, reason: str = "") -> Posted:
        """The user opens no holds until this freeze, and every other, is lifted."""

        async def build() -> Transaction:
            freezes = await self._ledger.find_record(records.FREEZES, user)
            return rules.user_frozen(freeze_id, user, freezes, self._now(), reason)

        return await self._post(f"freeze:{freeze_id}", build)

    async def unfreeze(self, freeze_id: str, user: str, reason: str = "") -> Posted:
        """Lift that freeze, or a dispute's (`rules.dispute_freeze`). Raises WrongState if it is not open, or if it is
        the last one and the user is in debt."""

        async def build() -> Transaction:
            freezes = await self._ledger.find_record(records.FREEZES, user)
            if rules.reasons_of(freezes) == {freeze_id}:
                await self._require_no_debt(user)
            return rules.user_unfrozen(freeze_id, user, freezes, self._now(), reason)

        return await self._post(f"unfreeze:{freeze_id}", build, rules.unfreeze_fingerprint(user))

    async def release(self, case_id: str, user: str, reason: str = "") -> Posted:
        """A person has decided that nothing freezes the user any more. Raises WrongState for one in debt."""

        async def build() -> Transaction:
            await self._require_no_debt(user)
            freezes = await self._ledger.find_record(records.FREEZES, user)
            return rules.user_released(case_id, user, freezes, self._now(), reason)

        return await self._post(f"unfreeze:{case_id}", build, rules.unfreeze_fingerprint(user))

    async def _require_no_debt(self, user: str) -> None:
        if await self._owed(user_debt(user)):
            raise WrongState(f"{user} is in debt and stays frozen", kind=records.FREEZES, id=user, state="FROZEN")

    async def write_off(self, dispute_id: str, approver: str) -> Posted:
        """The dispute was lost: what is still owed of it is the platform's loss."""

        async def build() -> Transaction:
            dispute = await self._record(records.DISPUTE, dispute_id)
            return rules.write_off(dispute, approver, await self._owed(user_debt(dispute.text("user"))), self._now())

        return await self._post(f"writeoff:{dispute_id}", build)

    async def claw_back(
        self, case_id: str, provider: str, amount_atoms: int, to_user: str = "", operator: str = ""
    ) -> Posted:
        """Take proven fraud from a provider; what is not there becomes debt, which the next earnings repay."""

        async def build() -> Transaction:
            payable_atoms = await self._ledger.account_atoms(payable_account(provider))
            return rules.clawback(case_id, provider, amount_atoms, payable_atoms, self._now(), to_user, operator)

        return await self._post(f"claw:{case_id}", build)

    async def pay_out(self, payout_id: str, provider: str, least_atoms: int) -> Posted | None:
        """Set aside all whole cents that are payable; dust stays. None if there are fewer than `least_atoms`, another
        payout is under way, or the provider owes anything. Raises WrongState for a provider that may not be paid."""

        async def build() -> Transaction:
            payee = await self._record(records.PROVIDER, provider)
            payable_atoms = await self._ledger.account_atoms(payable_account(provider))
            owed_atoms = await self._owed(provider_debt(provider))
            cents_atoms = payable_atoms - payable_atoms % ATOMS_PER_CENT
            if payee.text("open_payout") or owed_atoms or cents_atoms < max(least_atoms, ATOMS_PER_CENT):
                raise _NothingError
            return rules.payout_initiated(payout_id, payee, cents_atoms, self._now())

        try:
            return await self._post(f"po_init:{payout_id}", build, rules.payout_fingerprint(provider))
        except _NothingError:
            return None

    async def approve_adjustment(self, ticket: str, approver: str) -> Posted:
        """Book what somebody else proposed. Raises Forbidden, InsufficientCredits, WrongState."""

        async def build() -> Transaction:
            proposal = await self._record(records.ADJUSTMENT, ticket)
            now_ms = self._now()
            today = await self._ledger.find_record(records.ADJUSTED_DAY, utc_day(now_ms))
            return rules.adjustment_approved(proposal, approver, today, self._cap_atoms, now_ms)

        return await self._post(f"adj:{ticket}", build, rules.adjustment_fingerprint(ticket))

    async def post_about(self, kind: str, record_id: str, build: Callable[[Record], Transaction]) -> Posted:
        """Post what `build` makes of the record as it is, such as `rules.payout_paid`. Raises WrongState if there is
        none, or it is in another state."""

        async def build_now() -> Transaction:
            return build(await self._record(kind, record_id))

        return await self._post(f"{kind} {record_id}", build_now)

    async def mature_due(self) -> int:
        """Make earnings payable whose delay is over. Returns of how many providers' days."""
        matured = 0
        until_day = last_due_day(self._now(), self._delay_days)
        while due := await self._ledger.due_earnings(until_day, _PAGE):
            booked = [await self._mature(earned) for earned in due]
            matured += sum(booked)
            if not any(booked):
                break  # somebody else is at it
        return matured

    async def _mature(self, earned: Earnings) -> bool:
        """Whether this call booked it. One that cannot be now is left for the next time."""
        part = 0
        key = f"mature:{earned.provider}:{earned.day}"
        while await self._ledger.find_entry(f"{key}:{part}" if part else key):
            part += 1
        debt_atoms = await self._owed(provider_debt(earned.provider))
        try:
            posted = await self._ledger.post(rules.mature(earned, debt_atoms, self._delay_days, self._now(), part))
        except StaleRead:
            return False
        return posted.applied

    async def _post(self, key: str, build: Build, fingerprint: str = "") -> Posted:
        """Build and post, again while reads are stale. Raises what the books say, after two looks at the same.

        With a fingerprint, a key that is there answers also when nothing could be built any more: it is itself that has
        used up what it needs."""
        seen: WrongState | None = None
        for _ in range(MAX_ATTEMPTS):
            try:
                return await self._ledger.post(await build())
            except StaleRead:
                continue
            except WrongState as error:
                if seen and seen.figures == error.figures:
                    return await self._replayed(key, fingerprint, error)
                seen = error
            except (CallerError, _NothingError) as error:
                return await self._replayed(key, fingerprint, error)
        raise LedgerUnavailable(f"{key}: what it depends on keeps changing")

    async def _replayed(self, key: str, fingerprint: str, error: Exception) -> Posted:
        entry = await self._ledger.find_entry(key) if fingerprint else None
        if entry is None:
            raise error
        return replayed(entry, fingerprint)

    async def _record(self, kind: str, record_id: str) -> Record:
        record = await self._ledger.find_record(kind, record_id)
        if record is None:
            raise WrongState(f"there is no {kind} {record_id}", kind=kind, id=record_id, state="ABSENT")
        return record

    async def _owed(self, debt_account: str) -> int:
        return -await self._ledger.account_atoms(debt_account)

    def _now(self) -> int:
        return self._clock.now_ms()
