"""Where Redis is, read from a URL.

    redis://host:port                        one server
    redis+sentinel://host:port,host:port/master
    redis+cluster://host:port,host:port

`rediss` in place of `redis` asks for TLS, `?ca=/path/to/authority.pem` trusts another authority than the system's, and
`user:password@` before the hosts names an ACL user.
"""

from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from gollem.config import ConfigError

_PORT = 6379
_FORMS = "such as redis://host:6379, redis+sentinel://host:26379,host:26379/master or redis+cluster://host:6379"


class Kind(Enum):
    SINGLE = ""
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Address:
    """Servers, or Sentinels that know the server `master`. `authority` is a file, empty for the system's own."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...]
    master: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    authority: str = ""


class _Wrong(ValueError):
    """A text of ours, which is fit to be shown."""


def parse(url: str) -> Address:
    """Raises ConfigError, which never tells the URL: it may hold a password."""
    try:
        return _parse(urlsplit(url))
    except _Wrong as error:
        raise ConfigError(f"nodes.book: {error}; {_FORMS}") from None
    except ValueError:  # whose text may tell parts of the URL
        raise ConfigError(f"nodes.book: is no URL; {_FORMS}") from None


def _parse(parts: SplitResult) -> Address:
    scheme, _, kind = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss"):
        raise _Wrong("must begin with redis or rediss")
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    query = parse_qs(parts.query, strict_parsing=bool(parts.query))
    if set(query) - {"ca"}:
        raise _Wrong("knows no parameter but ca")
    address = Address(
        kind=_kind(kind),
        hosts=tuple(_host(place) for place in places.split(",")),
        master=parts.path.strip("/"),
        user=unquote(user),
        password=unquote(password),
        tls=scheme == "rediss",
        authority=query.get("ca", [""])[0],
    )
    if bool(address.master) != (address.kind is Kind.SENTINEL):
        raise _Wrong("names a master with Sentinel, and nothing else after its hosts")
    if address.kind is Kind.SINGLE and len(address.hosts) > 1:
        raise _Wrong("has several hosts only with Sentinel or a Cluster")
    return address


def _kind(name: str) -> Kind:
    try:
        return Kind(name)
    except ValueError:
        raise _Wrong("must be of one server, of Sentinels or of a Cluster") from None


def _host(place: str) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname:
        raise _Wrong("has a host without a name")
    return parts.hostname, parts.port or _PORT
