"""Connected accounts, the pages where their owners complete them, and what becomes of them there."""

from typing import Any

from gollem.payments.types import CURRENCY
from tests.fakes.stripe.errors import RefusalError, invalid, no_access
from tests.fakes.stripe.request import Request
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import Routes, World

PLATFORM_COUNTRY = "US"
# Of the countries that Stripe serves, those that tests need; transfers to the last come only with `recipient`.
COUNTRIES = {"US", "CA", "GB", "DE", "FR", "IE", "NL", "ES", "JP", "AU", "SG", "IN", "NG"}
_LINK_S = 300
_SCHEDULE = {"interval": "daily", "delay_days": 2}
_SETTINGS: dict[str, Any] = {"branding": {}, "card_payments": {}, "dashboard": {}, "payments": {}}
_PARAMETERS = (
    "type country email business_type business_profile capabilities tos_acceptance metadata settings controller"
)


class Accounts:
    """They are objects of the platform; what they own is kept under their id."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> Routes:
        return {
            "POST /v1/accounts": self._create,
            "GET /v1/accounts": self._list,
            "GET /v1/accounts/{id}": self._retrieve,
            "POST /v1/account_links": self._link,
        }

    def find(self, account_id: str) -> Object:
        try:
            return self._world.store.find("account", account_id)
        except RefusalError as absent:
            raise no_access(account_id) from absent

    # --- what people do

    def verify_account(
        self, connected_id: str, can_be_paid: bool = True, *, reason: str = "requirements.past_due"
    ) -> None:
        """The owner has told all that is asked, and Stripe believes it; or it does not, or no longer."""
        account = self.find(connected_id)
        account.update(details_submitted=True, payouts_enabled=can_be_paid)
        for name in account["capabilities"]:
            account["capabilities"][name] = "active" if can_be_paid else "inactive"
        due = [] if can_be_paid else ["individual.verification.document"]
        account["requirements"] |= {"disabled_reason": None if can_be_paid else reason, "currently_due": due}
        if not account["external_accounts"]["data"]:
            self._add_bank(account)
        self._world.events.tell("account.updated", account, connected_id)

    def swap_bank(self, connected_id: str) -> str:
        """The owner names another bank account. Returns its id."""
        account = self.find(connected_id)
        account["external_accounts"]["data"].clear()
        bank = self._add_bank(account)
        self._world.events.tell("account.external_account.created", bank, connected_id)
        self._world.events.tell("account.updated", account, connected_id)
        return str(bank["id"])

    def leave(self, connected_id: str) -> None:
        """The owner closes the account, or forbids us to use it."""
        self.find(connected_id)
        application = {"id": "ca_of_the_fake", "object": "application", "name": "GoLLeM"}
        self._world.events.tell("account.application.deauthorized", application, connected_id)
        self._world.store.remove(connected_id)

    def _add_bank(self, account: Object) -> Object:
        bank = self._world.store.make(
            "bank_account", "ba", account["id"], account=account["id"], country=account["country"], currency=CURRENCY
        )
        del bank["created"]
        bank.update(bank_name="STRIPE TEST BANK", last4="6789", status="new", default_for_currency=True, metadata={})
        account["external_accounts"]["data"].append(bank["id"])
        return bank

    # --- endpoints

    def _create(self, request: Request) -> Object:
        request.allow(_PARAMETERS)
        country = request.text("country", PLATFORM_COUNTRY)
        if country not in COUNTRIES:
            raise invalid(f"{country} is not currently supported by Stripe.", "country", "country_unsupported")
        wanted = [name for name, asked in request.nested("capabilities").items() if asked.get("requested") == "true"]
        agreement = request.nested("tos_acceptance").get("service_agreement", "full")
        if agreement == "recipient" and country == PLATFORM_COUNTRY:
            message = f"The recipient ToS agreement is not supported for platforms in {PLATFORM_COUNTRY} creating "
            raise invalid(message + f"accounts in {country}.", "tos_acceptance[service_agreement]")
        if agreement == "recipient" and wanted != ["transfers"]:
            raise invalid("With a recipient agreement, only transfers can be requested.", "capabilities")
        account = self._make(request, country, wanted, agreement)
        self._world.events.tell("account.updated", account, account["id"])
        return account

    def _make(self, request: Request, country: str, wanted: list[str], agreement: str) -> Object:
        due = ["external_account", "individual.verification.document", "tos_acceptance.date"]
        requirements = {"currently_due": due, "eventually_due": due, "past_due": due, "pending_verification": []}
        schedule = request.nested("settings").get("payouts", {}).get("schedule", {})
        account = self._world.store.make(
            "account",
            "acct",
            type=request.params.get("type", "none"),
            controller={"type": "application", "is_controller": True} | request.nested("controller"),
            business_type=request.params.get("business_type"),
            country=country,
            default_currency=CURRENCY,
            email=request.params.get("email"),
            metadata=request.metadata,
            capabilities=dict.fromkeys(wanted, "inactive"),
            charges_enabled=False,
            payouts_enabled=False,
            details_submitted=False,
            requirements=requirements | {"disabled_reason": "requirements.past_due", "errors": []},
            settings=_SETTINGS | {"payouts": {"debit_negative_balances": True, "schedule": _SCHEDULE | schedule}},
            tos_acceptance={"date": None, "service_agreement": agreement},
        )
        url = f"/v1/accounts/{account['id']}/external_accounts"
        account["external_accounts"] = {"object": "list", "url": url, "has_more": False, "data": []}
        return account

    def _list(self, request: Request) -> Object:
        return self._world.store.page(request, "account")

    def _retrieve(self, request: Request) -> Object:
        request.allow("")
        return self.find(request.path_ids[0])

    def _link(self, request: Request) -> Object:
        request.allow("account type return_url refresh_url collection_options")
        account = self.find(request.text("account"))
        request.one_of("type", ("account_onboarding", "account_update"))
        for name in ("return_url", "refresh_url"):
            if not request.text(name).startswith(("https://", "http://")):
                raise invalid("Not a valid URL", name, "url_invalid")
        link = self._world.store.make("account_link", "link", expires_at=self._world.store.now_s() + _LINK_S)
        link["url"] = f"https://connect.stripe.com/setup/e/{account['id']}/{link['id']}"
        return {name: value for name, value in link.items() if name not in ("id", "livemode")}
