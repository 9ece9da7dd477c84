"""Stripe's test cards that the fake knows, and how each behaves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """`decline_code` on every charge; `wants_owner`: a charge needs somebody to confirm it."""

    decline_code: str = ""
    wants_owner: bool = False
    is_available_at_once: bool = False
    is_disputed: bool = False
    is_inquired: bool = False


CARDS = {
    "pm_card_visa": Card(),
    "pm_card_bypassPending": Card(is_available_at_once=True),
    "pm_card_visa_chargeDeclined": Card(decline_code="generic_decline"),
    "pm_card_visa_chargeDeclinedInsufficientFunds": Card(decline_code="insufficient_funds"),
    "pm_card_chargeCustomerFail": Card(decline_code="generic_decline"),
    "pm_card_authenticationRequired": Card(wants_owner=True),
    "pm_card_createDispute": Card(is_disputed=True),
    "pm_card_createDisputeInquiry": Card(is_inquired=True),
}
