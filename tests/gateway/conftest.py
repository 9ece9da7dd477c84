"""One exchange behind one Envoy for all tests here, and for each test people of its own."""

import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from grpclib.client import Channel
from yarl import URL

from gollem.identity import KeyStore, Role, open_key_store
from gollem.rpc.pb import admin_pb2, provider_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceStub
from gollem.rpc.pb.provider_grpc import ProviderServiceStub
from tests.fakes.provider import FakeProvider
from tests.rpc.conftest import ask
from tests.servers.gateway import Gateway, gateway

_numbers = itertools.count(1)


@dataclass
class Answer:
    """Of one HTTP request."""

    status: int
    headers: "aiohttp.typedefs.LooseHeaders"
    body: Any

    @property
    def error(self) -> tuple[int, str, dict[str, str]]:
        """Status, reason and figures of a refusal in JSON."""
        [info] = [each for each in self.body["details"] if each["@type"].endswith("google.rpc.ErrorInfo")]
        return self.status, info["reason"], info.get("metadata", {})


@dataclass(frozen=True)
class Person:
    """Somebody with a key."""

    account: str
    authorization: dict[str, str]


class Client:
    """HTTP as apps speak it, gRPC through the same port, and what only the exchange itself does."""

    def __init__(self, place: Gateway, session: aiohttp.ClientSession, keys: KeyStore) -> None:
        self.place = place
        self.session = session
        self._keys = keys
        self.channel = Channel("127.0.0.1", place.port)
        self._direct = Channel("127.0.0.1", place.exchange_port)

    async def person(self, role: Role = Role.CONSUMER, funds: str = "") -> Person:
        account = f"{role.value}-{next(_numbers)}"
        if funds:
            await self.fund(account, funds)
        return Person(account, await self.key(account, role))

    async def fund(self, account: str, amount: str) -> None:
        ops = await self.key("ops", Role.OPERATOR)
        request = admin_pb2.GrantCreditsRequest(grant_id=f"g-{account}", account=account, amount=amount)
        await AdminServiceStub(self._direct).GrantCredits(request, metadata=ops)

    async def key(self, account: str, role: Role) -> dict[str, str]:
        made = await self._keys.create(account, role)
        return {"authorization": f"Bearer {made.secret}"}

    async def sell(self, provider: Person, **changes: Any) -> None:
        """Through the gateway, as agents do."""
        await ProviderServiceStub(self.channel).Register(
            ask(provider.account, **changes), metadata=provider.authorization
        )

    async def settle(self, provider: Person, order_id: str, **changes: Any) -> provider_pb2.SettleResponse:
        request = provider_pb2.SettleRequest(provider_id=provider.account, order_id=order_id, **changes)
        return await ProviderServiceStub(self.channel).Settle(request, metadata=provider.authorization)

    async def get(self, path: str, who: Person | None = None, **query: str) -> Answer:
        return await self.send("GET", path, who, params=query)

    async def post(self, path: str, who: Person | None, body: Any, **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send("POST", path, who, json=body, headers=named)

    async def send(self, method: str, path: str, who: Person | None = None, **options: Any) -> Answer:
        headers = (who.authorization if who else {}) | options.pop("headers", {})
        async with self.session.request(
            method, URL(self.place.url + path, encoded=True), headers=headers, **options
        ) as answer:
            is_json = answer.content_type == "application/json"
            return Answer(answer.status, answer.headers, await answer.json() if is_json else await answer.text())

    def close(self) -> None:
        self.channel.close()
        self._direct.close()


@pytest.fixture(scope="session")
def place() -> Iterator[Gateway]:
    with gateway() as started:
        yield started


@pytest.fixture
async def client(place: Gateway) -> AsyncIterator[Client]:
    keys = await open_key_store(place.data)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = Client(place, session, keys)
        yield client
        client.close()
    await keys.close()


@dataclass
class Market:
    """A model's buyer and seller, whom nobody else knows."""

    client: Client
    buyer: Person
    seller: Person
    provider: FakeProvider

    def bid(self, **changes: Any) -> dict[str, Any]:
        """200 credits at the seller's price."""
        wanted = {"model": "gpt-4", "promptTokens": 100, "maxTokens": 100, "onlyProviders": [self.seller.account]}
        return wanted | changes

    def order(self, **changes: Any) -> dict[str, Any]:
        return {"orderId": f"order-{next(_numbers)}", "bid": self.bid()} | changes

    def request(self, **changes: Any) -> dict[str, Any]:
        """For generate."""
        return self.order(messages=[{"role": "user", "content": "Say hello."}], **changes)


@pytest.fixture
async def market(client: Client) -> AsyncIterator[Market]:
    buyer = await client.person(funds="1000")
    seller = await client.person(Role.PROVIDER)
    provider = FakeProvider(seller.account)
    await provider.start()
    await client.sell(seller, endpoint=provider.endpoint)
    yield Market(client, buyer, seller, provider)
    await provider.stop()
