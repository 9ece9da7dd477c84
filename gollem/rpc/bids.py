"""Bids that are to be matched: decoded, and counted where they never get as far as the exchange."""

from gollem.errors import UnknownModel
from gollem.exchange import Tally
from gollem.market import Bid, Catalogue
from gollem.rpc import decode
from gollem.rpc.pb import market_pb2

# Stands for every name that the catalogue lacks: what callers write never becomes a label.
NO_MODEL = "unknown"


def to_match(message: market_pb2.Bid, catalogue: Catalogue, tally: Tally) -> Bid:
    """As `decode.bid`; for an unknown model it is a bid that was refused. Raises InvalidField, UnknownModel."""
    try:
        return decode.bid(message, catalogue)
    except UnknownModel as error:
        tally.refused(NO_MODEL, error)
        raise
