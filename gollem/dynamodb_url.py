"""A table of DynamoDB by its URL."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Address:
    """A table. Without an endpoint, the region's own; without a region, the environment's."""

    table: str
    endpoint: str = ""
    region: str = ""

    @property
    def connection(self) -> dict[str, Any]:
        """What a client of boto3 is told of the place. None: as the environment says. Without TLS nothing is verified,
        and authorities take 40 ms to read."""
        return {"endpoint_url": self.endpoint or None, "verify": False if self.endpoint.startswith("http://") else None}

    def __str__(self) -> str:
        """As the table is named by who runs it."""
        options = {"endpoint": self.endpoint, "region": self.region}
        given = "&".join(f"{name}={value}" for name, value in options.items() if value)
        return f"dynamodb://{self.table}" + (f"?{given}" if given else "")


def address_of(url: str) -> Address | None:
    """Of `dynamodb://table?region=eu-west-1&endpoint=http://127.0.0.1:8000`; None if it is no such URL."""
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets that are no address
        return None
    options = dict(parse_qsl(parts.query))
    if parts.scheme != "dynamodb" or not parts.netloc or parts.path.strip("/"):
        return None
    if options.keys() - {"endpoint", "region"}:
        return None
    return Address(parts.netloc, options.get("endpoint", ""), options.get("region", ""))
