"""What is for sale and who gets it."""

from gollem.market.book import OrderBook, Report
from gollem.market.catalogue import Catalogue, CatalogueError, Model
from gollem.market.explain import Chances, Verdict
from gollem.market.memory_book import MemoryBook
from gollem.market.pricing import Terms as PriceTerms
from gollem.market.pricing import share
from gollem.market.resting import RestingBids
from gollem.market.types import (
    MAX_CAPACITY_SLOTS,
    MAX_CAPACITY_TOKENS,
    MAX_LATENCY_US,
    MAX_LISTED,
    MAX_PRICE_TICKS,
    MAX_TOKENS,
    Ask,
    Bid,
    Block,
    Depth,
    Match,
    Offer,
    Policy,
    Quote,
    Rejection,
    Weights,
)

__all__ = [
    "MAX_CAPACITY_SLOTS",
    "MAX_CAPACITY_TOKENS",
    "MAX_LATENCY_US",
    "MAX_LISTED",
    "MAX_PRICE_TICKS",
    "MAX_TOKENS",
    "Ask",
    "Bid",
    "Block",
    "Catalogue",
    "CatalogueError",
    "Chances",
    "Depth",
    "Match",
    "MemoryBook",
    "Model",
    "Offer",
    "OrderBook",
    "Policy",
    "PriceTerms",
    "Quote",
    "Rejection",
    "Report",
    "RestingBids",
    "Verdict",
    "Weights",
    "share",
]
