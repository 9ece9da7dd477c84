"""The headers that open a call: what they ask for, or why it is refused. Decides, and does nothing."""

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass

from grpclib.const import Handler, Status
from grpclib.metadata import Deadline
from multidict import MultiDict

_CONTENT_TYPES = ("application/grpc", "application/grpc+proto")
# The specification's: at most 8 digits. grpclib takes any number, and breaks on large ones.
_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_UNIT_S = {"H": 3_600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
# Timers beyond a day are of no use, and beyond some years of danger.
_MAX_TIMEOUT_S = 86_400.0
_PRINTABLE = re.compile(r"[ -~]*", re.ASCII)
_NOT_METADATA = frozenset({"te", "content-type", "user-agent"})


@dataclass(frozen=True, slots=True)
class Opening:
    """What a call asks for."""

    method_name: str
    method: Handler
    metadata: MultiDict[str | bytes]
    deadline: Deadline | None
    content_type: str
    user_agent: str | None


class Refused(Exception):
    """The call does not begin. `message` is fixed text: nothing that the peer sent goes back."""

    def __init__(self, http_status: int, status: Status, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.status = status
        self.message = message


def read_opening(headers: list[tuple[str, str]], methods: Mapping[str, Handler]) -> Opening:
    """What `headers` ask for. Raises Refused."""
    first = dict(reversed(headers))
    if first.get(":method") != "POST":
        raise Refused(405, Status.INTERNAL, "gRPC calls are POST")
    content_type = first.get("content-type", "")
    if content_type not in _CONTENT_TYPES:
        raise Refused(415, Status.INTERNAL, "content-type must be application/grpc")
    name = first.get(":path", "")
    method = methods.get(name)
    if method is None:
        raise Refused(200, Status.UNIMPLEMENTED, "no such method")
    return Opening(
        method_name=name,
        method=method,
        metadata=_metadata(headers),
        deadline=_deadline(first.get("grpc-timeout")),
        content_type=content_type,
        user_agent=first.get("user-agent"),
    )


def _deadline(timeout: str | None) -> Deadline | None:
    if timeout is None:
        return None
    form = _TIMEOUT.fullmatch(timeout)
    if form is None:
        raise Refused(200, Status.INVALID_ARGUMENT, "grpc-timeout is not valid")
    return Deadline.from_timeout(min(int(form[1]) * _UNIT_S[form[2]], _MAX_TIMEOUT_S))


def _metadata(headers: list[tuple[str, str]]) -> MultiDict[str | bytes]:
    metadata: MultiDict[str | bytes] = MultiDict()
    for key, value in headers:
        if key.startswith((":", "grpc-")) or key in _NOT_METADATA:
            continue
        if not _PRINTABLE.fullmatch(value):
            raise Refused(200, Status.INVALID_ARGUMENT, "metadata must be printable ASCII, or its name end in -bin")
        if not key.endswith("-bin"):
            metadata.add(key, value)
            continue
        for part in value.split(","):
            metadata.add(key, _binary(part.strip()))
    return metadata


def _binary(value: str) -> bytes:
    """Base64, padded or not."""
    try:
        return b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4), validate=True)
    except ValueError:
        raise Refused(200, Status.INVALID_ARGUMENT, "metadata whose name ends in -bin must be base64") from None
