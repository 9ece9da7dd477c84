"""An exchange of the replay's own: a process on a temporary folder, its catalogue made from the asks, and accounts."""

import asyncio
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median_low

from grpclib.client import Channel

from benchmarks.replay.listings import CONTEXT_TOKENS, Listing
from benchmarks.replay.pricing import GPUS_CENTI, Model
from benchmarks.replay.sellers import TELEMETRY_S
from gollem import units
from gollem.cli.demo.processes import Processes, answers, free_port
from gollem.rpc.pb import admin_pb2, credit_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceStub
from gollem.rpc.pb.credit_grpc import CreditServiceStub

START_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 60.0
# A hold that nobody settles is returned after this, so that the replay sees it happen.
MAX_ORDER_MS = 10_000


class Venue:
    """What the operator does: makes keys, gives credits, looks at balances, audits."""

    def __init__(self, channel: Channel, operator_key: str) -> None:
        self._admin = AdminServiceStub(channel)
        self._credit = CreditServiceStub(channel)
        self._metadata = {"authorization": f"Bearer {operator_key}"}

    async def keys(self, accounts: Iterable[str], role: str) -> dict[str, str]:
        """A new key for each account."""
        names = list(accounts)
        made = await asyncio.gather(*(self._key(name, role) for name in names))
        return dict(zip(names, made, strict=True))

    async def grant(self, account: str, amount: str) -> None:
        """Credits, as a decimal string."""
        request = admin_pb2.GrantCreditsRequest(grant_id=f"replay-{account}", account=account, amount=amount)
        await self._admin.GrantCredits(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata)

    async def balance(self, account: str) -> credit_pb2.BalanceResponse:
        request = credit_pb2.BalanceRequest(account=account)
        answer: credit_pb2.BalanceResponse = await self._credit.Balance(
            request, timeout=CALL_TIMEOUT_S, metadata=self._metadata
        )
        return answer

    async def audit(self) -> admin_pb2.AuditResponse:
        answer: admin_pb2.AuditResponse = await self._admin.Audit(
            admin_pb2.AuditRequest(), timeout=CALL_TIMEOUT_S, metadata=self._metadata
        )
        return answer

    async def _key(self, account: str, role: str) -> str:
        request = admin_pb2.CreateKeyRequest(account=account, role=role)
        answer = await self._admin.CreateKey(request, timeout=CALL_TIMEOUT_S, metadata=self._metadata)
        key: str = answer.key
        return key


async def start(
    processes: Processes, folder: Path, models: Mapping[str, Model], asks: Sequence[Listing], ledger: str = ""
) -> int:
    """Start the exchange and wait until it answers. Returns its port. Raises Failure."""
    port = free_port()
    (folder / "catalogue.toml").write_text(catalogue(models, asks))
    (folder / "exchange.toml").write_text(settings(folder, port, ledger))
    command = [sys.executable, "-m", "gollem", "serve", "--config", str(folder / "exchange.toml")]
    await processes.start("exchange", command)
    await processes.wait_until("the exchange", lambda: answers(port), START_TIMEOUT_S)
    return port


def settings(folder: Path, port: int, ledger: str = "") -> str:
    """The exchange's configuration: its limits stand clear of what the replay wants to see."""
    return f"""
[server]
port = {port}
metrics_port = 0
max_streams = 4000
requests_per_second = 100000
burst = 100000
[storage]
data = {json.dumps(str(folder / "data"))}
ledger = {json.dumps(ledger)}
[market]
catalogue = {json.dumps(str(folder / "catalogue.toml"))}
[providers]
telemetry_interval_ms = {round(TELEMETRY_S * 1_000)}
withdraw_after_ms = {round(TELEMETRY_S * 10_000)}
max_asks_per_provider = 100000
[exchange]
max_order_ms = {MAX_ORDER_MS}
settle_grace_ms = {MAX_ORDER_MS}
"""


def catalogue(models: Mapping[str, Model], asks: Sequence[Listing]) -> str:
    """Every model of the asks file with its multiplier and what is usual for it, and the GPUs."""
    usual: dict[str, list[Listing]] = defaultdict(list)
    for ask in asks:
        usual[ask.model].append(ask)
    parts = [_model(models[name], listed) for name, listed in usual.items()]
    parts += [f'[gpus.{name}]\nmultiplier = "{centi // 100}.{centi % 100:02d}"' for name, centi in GPUS_CENTI.items()]
    return "\n".join(parts) + "\n"


def _model(model: Model, listed: Sequence[Listing]) -> str:
    price_ticks = median_low([ask.price_ticks for ask in listed])
    return f"""
[models.{json.dumps(model.name)}]
multiplier = "{model.multiplier_micro // 10**6}.{model.multiplier_micro % 10**6:06d}"
context_tokens = {CONTEXT_TOKENS}
price = "{units.format_fixed(price_ticks)}"
latency_ms = {median_low([ask.latency_ms for ask in listed])}
throughput_tps = {round(median_low([ask.throughput_tps for ask in listed]))}"""
