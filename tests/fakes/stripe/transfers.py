"""Transfers to connected accounts, and their reversals."""

from gollem.payments.types import CURRENCY
from tests.fakes.stripe.accounts import PLATFORM_COUNTRY, Accounts
from tests.fakes.stripe.charges import charge_fields
from tests.fakes.stripe.errors import RefusalError, invalid, refused
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import Routes, World

LEAST_CENTS = 1


class Transfers:
    """What arrives at a connected account is a `payment` there, and available at once."""

    def __init__(self, world: World, accounts: Accounts) -> None:
        self._world = world
        self._accounts = accounts

    def routes(self) -> Routes:
        return {
            "POST /v1/transfers": self._create,
            "GET /v1/transfers": self._list,
            "GET /v1/transfers/{id}": self._retrieve,
            "POST /v1/transfers/{id}/reversals": self._reverse,
            "GET /v1/transfers/{id}/reversals": self._reversals,
        }

    def reverse_by_hand(self, transfer_id: str, cents: int | None = None) -> str:
        """Somebody reverses it in Stripe's dashboard. Returns the reversal's id."""
        transfer = self._world.store.find("transfer", transfer_id)
        return str(self._take_back(transfer, self._left(transfer) if cents is None else cents, {})["id"])

    # --- endpoints

    def _create(self, request: Request) -> Object:
        request.allow("amount currency destination transfer_group metadata description")
        request.require_usd()
        cents = request.cents(least=LEAST_CENTS)
        destination = self._destination(request)
        if self._world.balances.cents("available") < cents:
            message = "You have insufficient available funds in your Stripe account."
            raise refused(message, "balance_insufficient")
        transfer = self._make(request, cents, destination)
        self._world.events.tell("transfer.created", transfer)
        return transfer

    def _destination(self, request: Request) -> Object:
        destination_id = request.text("destination")
        try:
            account = self._accounts.find(destination_id)
        except RefusalError as absent:
            raise refused(f"No such destination: '{destination_id}'", "resource_missing", "destination") from absent
        if account["capabilities"].get("transfers") != "active":
            message = "Your destination account needs to have at least one of the following capabilities: transfers"
            raise refused(message, "insufficient_capabilities_for_transfer")
        if account["country"] != PLATFORM_COUNTRY and account["tos_acceptance"]["service_agreement"] != "recipient":
            message = f"Funds can't be sent to accounts located in {account['country']} under this agreement."
            raise refused(message, "transfers_not_allowed")
        return account

    def _make(self, request: Request, cents: int, destination: Object) -> Object:
        store, connected_id = self._world.store, destination["id"]
        transfer = store.make("transfer", "tr", amount=cents, amount_reversed=0, currency=CURRENCY, reversed=False)
        arrived = store.make("charge", "py", connected_id, **charge_fields(cents, "succeeded"))
        arrived.update(paid=True, captured=True, amount_captured=cents, source_transfer=transfer["id"])
        url = f"/v1/transfers/{transfer['id']}/reversals"
        transfer.update(
            balance_transaction=self._world.balances.move("transfer", -cents, transfer["id"]),
            description=request.params.get("description"),
            destination=connected_id,
            destination_payment=arrived["id"],
            metadata=request.metadata,
            reversals={"object": "list", "url": url, "has_more": False, "data": []},
            source_transaction=None,
            source_type="card",
            transfer_group=request.params.get("transfer_group"),
        )
        arrived["balance_transaction"] = self._world.balances.move(
            "payment", cents, arrived["id"], account=connected_id
        )
        self._world.events.tell("payment.created", arrived, connected_id)
        return transfer

    def _list(self, request: Request) -> Object:
        return self._world.store.page(request, "transfer", "destination transfer_group")

    def _retrieve(self, request: Request) -> Object:
        request.allow("")
        return self._world.store.find("transfer", request.path_ids[0])

    def _reverse(self, request: Request) -> Object:
        request.allow("amount metadata description")
        transfer = self._world.store.find("transfer", request.path_ids[0])
        left_cents = self._left(transfer)
        if left_cents == 0:
            raise refused("The transfer has already been fully reversed.", "transfer_reversal_exceeds_amount")
        return self._take_back(transfer, request.cents(left_cents), request.metadata)

    def _reversals(self, request: Request) -> Object:
        transfer_id = self._world.store.find("transfer", request.path_ids[0])["id"]
        return self._world.store.page(request, "transfer_reversal", keep=lambda one: one["transfer"] == transfer_id)

    # --- inside

    def _left(self, transfer: Object) -> int:
        return int(transfer["amount"] - transfer["amount_reversed"])

    def _take_back(self, transfer: Object, cents: int, metadata: dict[str, str]) -> Object:
        connected_id = transfer["destination"]
        if cents > self._left(transfer):
            raise invalid("The amount is larger than what is left of the transfer.", "amount")
        if self._world.balances.cents("available", connected_id) < cents:
            raise refused("The destination account has insufficient funds.", "balance_insufficient")
        reversal = self._world.store.make(
            "transfer_reversal", "trr", amount=cents, currency=CURRENCY, metadata=metadata, transfer=transfer["id"]
        )
        reversal.update(destination_payment_refund=None, source_refund=None)
        reversal["balance_transaction"] = self._world.balances.move("transfer_refund", cents, reversal["id"])
        source_id = transfer["destination_payment"]
        self._world.balances.move("payment_refund", -cents, source_id, account=connected_id)
        transfer["amount_reversed"] += cents
        transfer["reversed"] = self._left(transfer) == 0
        transfer["reversals"]["data"].insert(0, reversal["id"])
        self._world.events.tell("transfer.reversed", transfer)
        return reversal
