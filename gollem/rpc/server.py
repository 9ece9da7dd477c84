"""The edge as one thing to start and stop."""

from gollem.clock import Clock
from gollem.config import Config
from gollem.errors import ShuttingDown
from gollem.exchange import (
    Accounts,
    AgentLinks,
    Asks,
    Cases,
    Floor,
    Orders,
    Reports,
    Settlement,
    Views,
    WaitingRoom,
)
from gollem.identity import Authenticator, KeyStore, RateLimiter
from gollem.market import Catalogue
from gollem.nodes import SharedBook
from gollem.observability import Meters
from gollem.payments import Payments
from gollem.rpc.account_service import AccountService
from gollem.rpc.admin_service import AdminService
from gollem.rpc.call_meter import CallMeter
from gollem.rpc.case_calls import CaseCalls
from gollem.rpc.credit_service import CreditService
from gollem.rpc.grants import GrantSigner
from gollem.rpc.http_hints import add_http_hints
from gollem.rpc.market_service import MarketService
from gollem.rpc.middleware import Middleware
from gollem.rpc.operator_service import OperatorService
from gollem.rpc.payout_service import PayoutService
from gollem.rpc.provider_service import ProviderService
from gollem.rpc.relay import Relay
from grpclib_guard import GuardedServer, Limits, Service


class Edge:
    """Every service on one port, behind the middleware."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        catalogue: Catalogue,
        floor: Floor,
        waiting: WaitingRoom,
        orders: Orders,
        asks: Asks,
        links: AgentLinks,
        settlement: Settlement,
        reports: Reports,
        accounts: Accounts,
        views: Views,
        cases: Cases,
        payments: Payments | None,
        keys: KeyStore,
        limiter: RateLimiter,
        shared: SharedBook,
        signer: GrantSigner,
        meters: Meters,
    ) -> None:
        settings = config.server
        self._middleware = Middleware(Authenticator(keys, clock), limiter, CallMeter(meters))
        self._waiting = waiting
        self._settings = settings
        relay = Relay(orders, reports, catalogue, signer, clock)
        services: list[Service] = [
            MarketService(
                orders, reports, relay, floor, waiting, views.tape, catalogue, signer, self._middleware, clock
            ),
            ProviderService(
                asks,
                settlement,
                links,
                views.advice,
                catalogue,
                signer,
                self._middleware,
                clock,
                config.providers,
                config.market,
            ),
            CreditService(accounts, views.spend_report, payments),
            PayoutService(payments),
            AccountService(keys),
            OperatorService(views.overview, clock, config.payments.gateway),
            AdminService(accounts, CaseCalls(cases, payments), keys, shared),
        ]
        limits = Limits(
            max_message_bytes=settings.max_message_bytes,
            max_connections=settings.max_connections,
            max_streams=settings.max_streams,
            idle_timeout_ms=settings.idle_timeout_ms,
        )
        self._server = GuardedServer(services, limits=limits, on_request=self._middleware, on_trailers=add_http_hints)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.port

    async def start(self) -> None:
        await self._server.start(self._settings.host, self._settings.port)

    async def drain(self) -> int:
        """Refuse new calls, let those under way finish within the time configured. Returns how many were cut off."""
        self._middleware.drain()
        self._waiting.close(ShuttingDown("this server is stopping: send the bid again"))
        return await self._server.drain(self._settings.drain_timeout_ms)
