"""An official gRPC client that knows proto/ and nothing else: stubs are generated as it starts.

    python grpcio_client.py HOST:PORT CONSUMER_KEY PROVIDER_KEY PROVIDER_ID MODEL GPU_TYPE ORDER_ID

Registers an ask, reports on it over a stream, reads the balance, matches a bid, reads the balance again. Prints one
JSON object with the answers; a refusal is {"code", "details"} and exit status 1.
"""

import importlib
import json
import queue
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from grpc_tools import protoc

PROTO = Path(__file__).resolve().parents[2] / "proto"
DEADLINE_S = 10


def generate(folder: str) -> None:
    """Writes stubs of every .proto file into the folder."""
    files = sorted(str(file) for file in PROTO.rglob("*.proto"))
    include = str(Path(protoc.__file__).parent / "_proto")
    command = ["protoc", f"-I{PROTO}", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files]
    if protoc.main(command) != 0:
        raise SystemExit("protoc failed")


class Client:
    """One caller: a channel and its key."""

    def __init__(self, channel: grpc.Channel, key: str) -> None:
        self._channel = channel
        self._options = {"metadata": (("authorization", f"Bearer {key}"),), "timeout": DEADLINE_S}

    def call(self, file: str, service: str, method: str, request: Any) -> dict[str, Any]:
        """One unary call; the answer with the names of the .proto files."""
        stub = getattr(importlib.import_module(f"gollem.v1.{file}_pb2_grpc"), f"{service}Stub")(self._channel)
        return as_dict(getattr(stub, method)(request, **self._options))

    def telemetry(self, requests: list[Any]) -> list[dict[str, Any]]:
        """A conversation: each report is sent when the one before it has been answered."""
        stub = importlib.import_module("gollem.v1.provider_pb2_grpc").ProviderServiceStub(self._channel)
        outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        answers = stub.Telemetry(iter(outbox.get, None), **self._options)
        heard = []
        for request in requests:
            outbox.put(request)
            heard.append(as_dict(next(answers)))
        outbox.put(None)
        return heard + [as_dict(answer) for answer in answers]


def as_dict(message: Any) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def run(
    address: str, consumer_key: str, provider_key: str, provider_id: str, model: str, gpu_type: str, order_id: str
) -> dict[str, Any]:
    """The whole conversation, answer by answer."""
    market = importlib.import_module("gollem.v1.market_pb2")
    provider = importlib.import_module("gollem.v1.provider_pb2")
    credit = importlib.import_module("gollem.v1.credit_pb2")
    ask = {"provider_id": provider_id, "ask_id": "grpcio"}
    register = provider.RegisterRequest(
        **ask,
        model=model,
        gpu_type=gpu_type,
        price="0.001",
        latency_ms=100,
        throughput_tps=50.0,
        capacity_tokens=100_000,
        capacity_slots=4,
        endpoint="127.0.0.1:9",
    )
    reports = [provider.TelemetryRequest(**ask, sequence=n, running=0, queued=0) for n in (1, 2, 3)]
    bid = market.Bid(model=model, prompt_tokens=100, max_tokens=100, max_latency_ms=1_000, only_providers=[provider_id])
    with grpc.insecure_channel(address) as channel:
        seller, buyer = Client(channel, provider_key), Client(channel, consumer_key)
        return {
            "register": seller.call("provider", "ProviderService", "Register", register),
            "telemetry": seller.telemetry(reports),
            "before": buyer.call("credit", "CreditService", "Balance", credit.BalanceRequest()),
            "match": buyer.call("market", "MarketService", "Match", market.MatchRequest(order_id=order_id, bid=bid)),
            "after": buyer.call("credit", "CreditService", "Balance", credit.BalanceRequest()),
        }


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        generate(folder)
        # First on the path, and by itself: the exchange's own package has the same name.
        sys.path[:] = [folder, *[entry for entry in sys.path if not Path(entry, "gollem", "app.py").exists()]]
        try:
            answers, status = run(*sys.argv[1:]), 0
        except grpc.RpcError as error:
            answers, status = {"code": error.code().name, "details": error.details()}, 1
        print(json.dumps(answers))
        return status


if __name__ == "__main__":
    sys.exit(main())
