"""Payouts to a bank: of connected accounts and of the platform, and what the bank does with them."""

from gollem.payments.types import CURRENCY
from tests.fakes.stripe.accounts import Accounts
from tests.fakes.stripe.errors import invalid, refused
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import Routes, World

_DAYS_S = 2 * 86_400
_UNDER_WAY = ("pending", "in_transit")


class Payouts:
    """The money leaves the balance at once, and comes back if the bank does not take it."""

    def __init__(self, world: World, accounts: Accounts) -> None:
        self._world = world
        self._accounts = accounts

    def routes(self) -> Routes:
        return {
            "POST /v1/payouts": self._create,
            "GET /v1/payouts": self._list,
            "GET /v1/payouts/{id}": self._retrieve,
            "POST /v1/payouts/{id}/cancel": self._cancel,
        }

    # --- what banks and people do

    def bank_takes(self, bank_payout_id: str) -> None:
        """It is on its way and cannot be cancelled any more."""
        self._change(self._in_state(bank_payout_id, "pending"), "in_transit", "payout.updated")

    def bank_pays(self, bank_payout_id: str) -> None:
        self._change(self._in_state(bank_payout_id, *_UNDER_WAY), "paid", "payout.paid")

    def bank_fails(self, bank_payout_id: str, code: str = "account_closed") -> None:
        """The bank sends it back, also after it was paid."""
        payout = self._in_state(bank_payout_id, *_UNDER_WAY, "paid")
        payout.update(failure_code=code, failure_message="The bank account has been closed.")
        self._give_back(payout, "payout_failure")
        self._change(payout, "failed", "payout.failed")

    def pay_out_by_hand(self, cents: int, connected_id: str = "") -> str:
        """Somebody pays out in the dashboard, of the platform or of a connected account. Returns the payout's id."""
        return str(self._make(cents, connected_id, {}, "ba_of_the_platform")["id"])

    # --- endpoints

    def _create(self, request: Request) -> Object:
        request.allow("amount currency metadata description statement_descriptor method destination")
        request.require_usd()
        request.one_of("method", ("standard", "instant"), "standard")
        cents = request.cents()
        bank_id = "ba_of_the_platform"
        if request.account:
            bank_id = self._bank(self._accounts.find(request.account))
        return self._make(cents, request.account, request.metadata, bank_id)

    def _bank(self, account: Object) -> str:
        if not account["payouts_enabled"]:
            raise refused("Payouts are not enabled on this account.", "payouts_not_allowed")
        banks = account["external_accounts"]["data"]
        if not banks:
            raise invalid("Sorry, you don't have any external accounts in that currency (usd).")
        return str(banks[0])

    def _list(self, request: Request) -> Object:
        return self._world.store.page(request, "payout", "status destination")

    def _retrieve(self, request: Request) -> Object:
        request.allow("")
        return self._world.store.find("payout", request.path_ids[0], request.account)

    def _cancel(self, request: Request) -> Object:
        payout = self._world.store.find("payout", request.path_ids[0], request.account)
        if payout["status"] != "pending":
            raise refused("Payouts can only be cancelled while they are pending.")
        self._give_back(payout, "payout_cancel")
        self._change(payout, "canceled", "payout.canceled")
        return payout

    # --- inside

    def _make(self, cents: int, account: str, metadata: dict[str, str], bank_id: str) -> Object:
        if self._world.balances.cents("available", account) < cents:
            raise refused("You have insufficient funds in your Stripe account for this payout.", "balance_insufficient")
        payout = self._world.store.make(
            "payout",
            "po",
            account,
            amount=cents,
            arrival_date=self._world.store.now_s() + _DAYS_S,
            automatic=False,
            currency=CURRENCY,
            destination=bank_id,
            failure_balance_transaction=None,
            failure_code=None,
            failure_message=None,
            metadata=metadata,
            method="standard",
            reconciliation_status="not_applicable",
            source_type="card",
            status="pending",
            type="bank_account",
        )
        moved = self._world.balances.move("payout", -cents, payout["id"], account=account)
        payout["balance_transaction"] = moved
        self._world.events.tell("payout.created", payout, account)
        return payout

    def _in_state(self, bank_payout_id: str, *states: str) -> Object:
        account = self._world.store.account_of(bank_payout_id)
        payout = self._world.store.find("payout", bank_payout_id, account)
        if payout["status"] not in states:
            raise refused(f"the payout is {payout['status']}")
        return payout

    def _give_back(self, payout: Object, kind: str) -> None:
        account = self._world.store.account_of(payout["id"])
        moved = self._world.balances.move(kind, payout["amount"], payout["id"], account=account)
        payout["failure_balance_transaction"] = moved

    def _change(self, payout: Object, status: str, kind: str) -> None:
        payout["status"] = status
        self._world.events.tell(kind, payout, self._world.store.account_of(payout["id"]))
