"""PayoutService: in the API, not in this release. Every call says so."""

from typing import Any

from gollem.errors import NotImplementedYet
from gollem.rpc.pb.payout_grpc import PayoutServiceBase


class PayoutService(PayoutServiceBase):
    """Answers UNIMPLEMENTED, reason NOT_IMPLEMENTED."""

    async def StartOnboarding(self, stream: Any) -> None:
        raise _not_yet()

    async def GetEarnings(self, stream: Any) -> None:
        raise _not_yet()

    async def RequestPayout(self, stream: Any) -> None:
        raise _not_yet()

    async def ListPayouts(self, stream: Any) -> None:
        raise _not_yet()


def _not_yet() -> NotImplementedYet:
    return NotImplementedYet("this release has no payouts: Balance tells what a provider has earned")
