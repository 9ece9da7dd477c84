"""OperatorService: what an operator watches, read only."""

from dataclasses import asdict
from typing import Any

from gollem import __version__
from gollem.clock import Clock
from gollem.exchange import Overview
from gollem.rpc import context, encode_admin
from gollem.rpc.pb import admin_pb2, operator_pb2
from gollem.rpc.pb.operator_grpc import OperatorServiceBase
from gollem.rpc.unary import answer


class OperatorService(OperatorServiceBase):
    """Every call needs a key of role operator. `gateway` is who takes and pays money."""

    def __init__(self, overview: Overview, clock: Clock, gateway: str) -> None:
        self._overview = overview
        self._clock = clock
        self._gateway = gateway

    async def GetOverview(self, stream: Any) -> None:
        await answer(stream, self._look)

    async def _look(self, request: operator_pb2.GetOverviewRequest) -> operator_pb2.Overview:
        context.operator()
        picture = await self._overview.look()
        return operator_pb2.Overview(
            at_ms=self._clock.now_ms(),
            uptime_ms=picture.uptime_ms,
            version=__version__,
            payments_gateway=self._gateway,
            models=picture.models,
            live_asks=picture.live_asks,
            blocked_asks=picture.blocked_asks,
            resting_bids=picture.resting_bids,
            open_orders=picture.open_orders,
            open_circuits=picture.open_circuits,
            nodes=[admin_pb2.NodeInfo(**asdict(node)) for node in picture.nodes],
            checks=[encode_admin.check_result(check, record) for check, record in picture.checks],
            payouts_halted=picture.halted,
            cases=map(encode_admin.case, picture.cases),
        )
