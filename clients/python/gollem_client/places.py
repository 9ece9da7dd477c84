"""Where the exchange is: at one place, or at several that share one book, and which of them is called now."""

import random
from dataclasses import dataclass

from gollem_client.channels import Address, parse_address
from gollem_client.errors import invalid

MAX_PLACES = 16


@dataclass(frozen=True, slots=True)
class Place:
    """One exchange: its address, and how its user wrote it."""

    address: Address
    name: str


class Places:
    """Of several, each client begins at another, so that they spread; it stays where it is answered."""

    def __init__(self, text: str, field: str = "address", rng: random.Random | None = None) -> None:
        """Addresses with commas between them. Raises InvalidField."""
        names = [name.strip() for name in text.split(",")]
        if len(names) > MAX_PLACES:
            raise invalid(field, f"must name {MAX_PLACES} exchanges at most, not {len(names)}")
        self._places = [Place(parse_address(name, field), name) for name in dict.fromkeys(names)]
        self._at = (rng or random.Random()).randrange(len(self._places))  # noqa: S311

    def __len__(self) -> int:
        return len(self._places)

    @property
    def current(self) -> Place:
        return self._places[self._at]

    def leave(self, place: Place) -> None:
        """It does not answer as it should: on to the next, unless somebody has gone on from there already."""
        if place is self.current:
            self._at = (self._at + 1) % len(self._places)
