"""Who may be paid: a provider's account at the payment provider, one for as long as it is there, and whether
its bank takes money.

Where the provider wants to be paid is stored first, then the account is made, then the provider is registered with it.
A country that the payment provider refused may be given another time; one that an account was made in stays. Once the
account is gone, with nothing of the provider's in it, another may take its place, in any country.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass

from gollem.clock import Clock
from gollem.config import RETURN_URL, PaymentsConfig
from gollem.errors import InvalidField, KeyReused, NotOnboarded, Overtaken, PaymentRefused, WrongState
from gollem.ledger import Ledger, Record, accounts, records, rules
from gollem.payments.alerts import words_of
from gollem.payments.attempts import Attempts
from gollem.payments.countries import agreement_of
from gollem.payments.gateway import PaymentGateway
from gollem.payments.payees import find_payee, is_gone, note_account, note_gone, reason
from gollem.payments.rounds import Round
from gollem.payments.types import Agreement, ConnectedAccount

_log = logging.getLogger(__name__)
DISABLED_A_SWEEP = 64
ENABLED_A_SWEEP = 16
ENABLED_PAUSE_MS = 6 * 3_600_000
SKEW_MS = 10 * 60_000  # between the payment provider's clock and ours


@dataclass(frozen=True, slots=True)
class _Wish:
    """Where a provider wants to be paid. Each has a number, so that each is carried out at most once."""

    provider: str
    number: int
    country: str
    since_ms: int
    gone_id: str  # the account that it takes the place of

    @classmethod
    def of(cls, record: Record) -> "_Wish":
        number, since_ms = record.number("number"), record.number("since_ms")
        return cls(record.id, number, record.text("country"), since_ms, record.text("gone_id"))


@dataclass(frozen=True, slots=True)
class OnboardingView:
    """`blocked_by` says why the provider cannot be paid, empty if it can. `country` is empty while it is not known."""

    blocked_by: str
    country: str


class Onboarding:
    """Every method may be repeated, by anybody, at any time."""

    def __init__(
        self, ledger: Ledger, gateway: PaymentGateway, attempts: Attempts, clock: Clock, config: PaymentsConfig
    ) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._attempts = attempts
        self._clock = clock
        self._return_url = config.return_url
        self._disabled = Round(ledger, clock, records.PROVIDER, "DISABLED", DISABLED_A_SWEEP)
        self._enabled = Round(ledger, clock, records.PROVIDER, "ENABLED", ENABLED_A_SWEEP, ENABLED_PAUSE_MS)

    async def start(self, provider: str, country: str, return_url: str = "") -> str:
        """A page, good for minutes and once, where the provider tells who it is and which bank to pay to; another one
        each time. Afterwards it comes back to `return_url` (the configured one if empty).

        `country` is ISO 3166-1 alpha-2, and stays. Raises InvalidField (country, return_url), PaymentRefused,
        PaymentsUnavailable, OutcomeUnknown; WrongState if its account is gone with money in it."""
        return_url = return_url or self._return_url
        if not RETURN_URL.fullmatch(return_url):
            raise InvalidField(
                "return_url", "must be an https:// address, or http://localhost, of at most 2000 letters"
            )
        agreement = agreement_of(country)
        payee = await find_payee(self._ledger, provider)
        if payee is None:
            payee = await self._open_account(provider, country, agreement)
        elif await self._is_lost(payee):
            payee = await self._open_account(provider, country, agreement, payee.text("connected_id"))
        _require_same(payee.text("country"), country)
        return await self._gateway.onboarding_url(payee.text("connected_id"), return_url)

    async def refresh(self, connected_id: str) -> bool:
        """Fetch the account and write down whether it can be paid. Returns whether that was news."""
        account = await self._gateway.account(connected_id)
        return account is not None and await note_account(self._ledger, self._clock, account)

    async def require_payable(self, provider: str) -> None:
        """Raises NotOnboarded unless the provider may be paid. Reads the ledger only."""
        blocked_by = (await self.view(provider)).blocked_by
        if blocked_by:
            raise NotOnboarded(f"{provider} cannot be paid: {blocked_by}", provider_id=provider, blocked_by=blocked_by)

    async def view(self, provider: str) -> "OnboardingView":
        """How far it is. Reads the ledger only."""
        payee = await find_payee(self._ledger, provider)
        if payee is None:
            wish = await self._ledger.find_record(records.ONBOARDING, provider)
            return OnboardingView("onboarding has not begun", wish.text("country") if wish else "")
        is_payable = payee.state == "ENABLED"
        return OnboardingView("" if is_payable else payee.text("blocked_by") or "not known", payee.text("country"))

    async def sweep(self) -> int:
        """Fetch the accounts that cannot be paid, and now and then those that can, a bounded number each time. Returns
        how many had changed."""
        changed = 0
        for payee in [*await self._disabled.page(), *await self._enabled.page()]:
            try:
                changed += await self._refresh_payee(payee)
            except Exception as error:  # one keeps none of the others waiting
                _log.warning("account %s could not be refreshed: %s", payee.text("connected_id"), words_of(error))
        return changed

    async def _refresh_payee(self, payee: Record) -> bool:
        account = await self._gateway.account(payee.text("connected_id"))
        if account is None:
            return await note_gone(self._ledger, self._clock, payee)
        return await note_account(self._ledger, self._clock, account)

    async def _is_lost(self, payee: Record) -> bool:
        """Whether its account is gone for certain, so that it may have another one. Raises WrongState while the books
        have money of the provider's there, or on its way there."""
        await self._refresh_payee(payee)
        there_atoms = await self._ledger.account_atoms(accounts.connected_account(payee.id))
        now = await find_payee(self._ledger, payee.id)
        if now is None or now.text("connected_id") != payee.text("connected_id") or not is_gone(now):
            return False  # it is back, or somebody else was faster
        if there_atoms or now.text("open_payout"):
            message = f"the account of {payee.id} is gone with money in it or on its way to it: ask the operator"
            raise WrongState(message, kind=records.PROVIDER, id=payee.id, state=payee.state)
        return True

    async def _open_account(self, provider: str, country: str, agreement: Agreement, gone_id: str = "") -> Record:
        """The first, or one instead of `gone_id`."""
        wish = await self._wish(provider, country, gone_id)
        _require_same(wish.country, country)

        async def look_up() -> ConnectedAccount | None:
            found = await self._gateway.find_account(provider, wish.since_ms - SKEW_MS)
            return found if found and found.connected_id != gone_id else None

        async def act(key: str) -> ConnectedAccount:
            return await self._gateway.create_account(provider, country, agreement, key)

        try:
            account = await self._attempts.carry_out(f"account.{provider}.{wish.number}", look_up, act)
        except PaymentRefused:
            await self._refuse(wish)
            raise
        return await self._register(provider, wish, agreement, account)

    async def _wish(self, provider: str, country: str, gone_id: str) -> _Wish:
        """What the provider wants; if others were faster, what they wrote."""
        known = await self._ledger.find_record(records.ONBOARDING, provider)
        if known is not None and known.state == "BEGUN" and known.text("gone_id") == gone_id:
            return _Wish.of(known)
        number = known.number("number") + 1 if known else 0
        wish = _Wish(provider, number, country, self._clock.now_ms(), gone_id)
        return _Wish.of(await self._write(known, wish, "BEGUN"))

    async def _refuse(self, wish: _Wish) -> None:
        known = await self._ledger.find_record(records.ONBOARDING, wish.provider)
        if known is not None and known.state == "BEGUN" and _Wish.of(known) == wish:
            await self._write(known, wish, "REFUSED")

    async def _write(self, known: Record | None, wish: _Wish, state: str) -> Record:
        fields: dict[str, str | int] = {
            "number": wish.number,
            "country": wish.country,
            "since_ms": wish.since_ms,
            "gone_id": wish.gone_id,
        }
        new = Record(records.ONBOARDING, wish.provider, state, fields)
        with suppress(Overtaken):  # somebody else was faster
            await self._ledger.post(rules.noted(known, new, self._clock.now_ms()))
        written = await self._ledger.find_record(records.ONBOARDING, wish.provider)
        assert written is not None, "records are never removed"
        return written

    async def _register(self, provider: str, wish: _Wish, agreement: Agreement, account: ConnectedAccount) -> Record:
        said = (account.connected_id, account.can_be_paid, self._clock.now_ms())
        about = (wish.country, agreement.value, reason(account))
        known = await find_payee(self._ledger, provider)
        if known is None:
            registered = rules.provider_registered(provider, *said, *about)
        elif known.text("connected_id") == wish.gone_id:
            registered = rules.provider_moved(known, *said, *about)
        else:
            return known
        with suppress(KeyReused, Overtaken):  # somebody else was faster, or will be asked again
            await self._ledger.post(registered)
        payee = await find_payee(self._ledger, provider)
        assert payee is not None, "whoever was faster has registered it"
        return payee


def _require_same(known: str, country: str) -> None:
    """Raises InvalidField."""
    if known and known != country:
        raise InvalidField("country", f"must stay {known}: an account cannot move to another country")
