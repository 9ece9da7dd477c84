"""What is for sale and who gets it."""

from gollem.market.book import OrderBook, Report
from gollem.market.catalogue import Catalogue, CatalogueError, Model
from gollem.market.memory_book import MemoryBook
from gollem.market.resting import Resting, RestingBids

__all__ = [
    "Catalogue",
    "CatalogueError",
    "MemoryBook",
    "Model",
    "OrderBook",
    "Report",
    "Resting",
    "RestingBids",
]
