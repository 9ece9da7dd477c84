"""The commands against a real exchange, a process of its own: what people and programs see."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from gollem.cli import main
from gollem.cli.connection import Server, ask
from gollem.cli.demo.processes import Processes, answers, free_port
from gollem_client import stubs
from tests.until import WITHIN_S

BID = ("--model", "smollm2", "--prompt-tokens", "40", "--max-tokens", "100")


@dataclass
class Shop:
    """A running exchange with one ask, and a consumer with 10 credits."""

    folder: Path
    port: int

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def server(self, account: str) -> Server:
        return Server(f"127.0.0.1:{self.port}", (self.folder / account).read_text().strip())

    def gollem(self, *words: str, account: str = "alice", status: int = 0) -> str:
        """What `gollem` says with these words; its stdout, or its stderr where it is to fail.

        In this process: a hundred of its own would only start Python a hundred times."""
        environment: dict[str, str | None] = {name: None for name in os.environ if name.startswith("GOLLEM_")}
        server = ("--server", f"127.0.0.1:{self.port}", "--key-file", str(self.folder / account))
        local = words[0] in {"keys", "ledger"}
        done = CliRunner().invoke(main, [*words, *(() if local else server)], env=environment | {"COLUMNS": "80"})
        assert done.exit_code == status, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.stderr if status else done.stdout


def key(shop: Shop, account: str, role: str) -> None:
    shop.gollem(
        "keys", "create", "--account", account, "--role", role, "--data", shop.data, "--out", str(shop.folder / account)
    )


async def register(shop: Shop) -> None:
    """One ask. Nobody listens behind it: what is matched here is never streamed."""
    request = stubs.RegisterRequest(
        provider_id="bob", model="smollm2", gpu_type="cpu", price="0.00100000", latency_ms=500,
        throughput_tps=40.0, capacity_tokens=100_000, capacity_slots=8, endpoint="127.0.0.1:9",
    )  # fmt: skip
    await ask(shop.server("bob"), "ProviderService/Register", request, stubs.RegisterResponse)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"), free_port())
    for account, role in {"alice": "consumer", "bob": "provider", "house": "operator"}.items():
        key(shop, account, role)
    with asyncio.Runner() as runner:
        processes = Processes(shop.folder)
        serve = [sys.executable, "-m", "gollem", "serve", "--data", shop.data, "--port", str(shop.port)]
        # Silence is not what is tested here.
        serve += ["--set", "server.metrics_port=0", "--set", "providers.withdraw_after_ms=100000"]
        try:
            runner.run(processes.start("exchange", serve))
            runner.run(processes.wait_until("the exchange", lambda: answers(shop.port), WITHIN_S))
            runner.run(register(shop))
            shop.gollem("credits", "grant", "--account", "alice", "--amount", "10", account="house")
            yield shop
        finally:
            runner.run(processes.stop())


def test_balance_shows_credits_and_usd(shop: Shop) -> None:
    shop.gollem("credits", "grant", "--account", "carol", "--amount", "2.5", account="house")
    shown = shop.gollem("balance", "--account", "carol", account="house")
    assert "2.50000000 credits ($0.0025)" in shown


def test_a_grant_of_the_same_id_grants_once(shop: Shop) -> None:
    words = ("credits", "grant", "--account", "dave", "--amount", "1", "--grant-id", "once")
    assert "granted to dave" in shop.gollem(*words, account="house")
    again = shop.gollem(*words, account="house")
    assert "had been granted before" in again
    assert "now has 1.00000000 credits" in again


def test_book_fits_80_columns_and_draws_the_ask(shop: Shop) -> None:
    shown = shop.gollem("book")
    assert "smollm2-135m" in shown
    assert "• bob" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert json.loads(shop.gollem("book", "--json"))["models"][0]["live_asks"] == 1


def test_quote_shows_the_front_and_what_limits_exclude(shop: Shop) -> None:
    assert "➤  bob" in shop.gollem("quote", *BID)
    excluded = shop.gollem("quote", *BID, "--max-latency", "100")
    assert "excluded by latency 1" in excluded
    answer = json.loads(shop.gollem("quote", *BID, "--json"))
    assert (answer["front_size"], answer["winner_provider_id"]) == (1, "bob")


def test_match_holds_and_a_replay_holds_nothing_more(shop: Shop) -> None:
    words = ("match", *BID, "--order-id", "order-1", "--json")
    first, again = json.loads(shop.gollem(*words)), json.loads(shop.gollem(*words))
    assert first["held"] == again["held"] == "0.03500000"
    assert (first["replayed"], again["replayed"]) == (False, True)
    balance = json.loads(shop.gollem("balance", "--json"))
    assert (balance["available"], balance["held"]) == ("9.96500000", "0.03500000")
    statement = shop.gollem("transactions")
    assert "order-1" in statement
    assert "-0.03500000" in statement


def test_statement_is_filtered_and_written_as_csv(shop: Shop) -> None:
    shop.gollem("credits", "grant", "--account", "house", "--amount", "1.5", "--grant-id", "csv-1", account="house")
    shop.gollem("credits", "grant", "--account", "house", "--amount", "2", "--grant-id", "csv-2", account="house")
    header, *lines = shop.gollem("transactions", "--csv", account="house").splitlines()
    assert header == "at_utc,kind,key,order_id,credits"
    assert [line.split(",")[1:] for line in lines] == [
        ["grant", "grant:csv-2", "", "2.00000000"],
        ["grant", "grant:csv-1", "", "1.50000000"],
    ]
    day = lines[0][:10]
    assert len(shop.gollem("transactions", "--csv", "--limit", "1", account="house").splitlines()) == 2
    for nothing in (("--kind", "settle"), ("--until", day), ("--since", "2999-01-01")):
        assert shop.gollem("transactions", "--csv", *nothing, account="house").splitlines() == [header]
    wanted = ("--kind", "grant", "--kind", "settle", "--since", day)
    assert len(shop.gollem("transactions", "--csv", *wanted, account="house").splitlines()) == 3
    assert "is none of grant, promo" in shop.gollem("transactions", "--kind", "gift", account="house", status=1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("match", *BID, "--max-latency", "1"), "`gollem quote` shows what each one excludes"),
        (("match", *BID[2:], "--model", "gpt-5"), "? `gollem models` lists the catalogue."),
        (("quote", *BID, "--max-price", "1e-3"), "--max-price: must be a decimal"),
        (("generate", " ", *BID[:2]), "the prompt is empty"),
        (("match", *BID[2:], "--model", "gpt-4"), "no provider offers this model now. `gollem book` shows"),
        (("quote", *BID, "--max-price", "1.123456789"), "--max-price"),
        (("balance", "--account", "bob"), "own account only. Name the key of another role or account"),
        (("credits", "grant", "--account", "alice", "--amount", "1"), "another role or account"),
        (("generate", "hi", *BID[:2]), "provider"),
    ],
)
def test_a_refusal_says_what_to_do(shop: Shop, words: tuple[str, ...], said: str) -> None:
    error = shop.gollem(*words, status=1)
    assert error.startswith("gollem: ")
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_a_wrong_key_is_refused_with_advice(shop: Shop) -> None:
    (shop.folder / "mallory").write_text("glm_0000000000000000_" + "a" * 43)
    assert "gollem keys create" in shop.gollem("balance", account="mallory", status=1)


def test_a_revoked_key_is_good_for_nothing(shop: Shop) -> None:
    made = json.loads(
        shop.gollem("keys", "create", "--account", "eve", "--role", "consumer", "--data", shop.data, "--json")
    )
    (shop.folder / "eve").write_text(made["key"])
    listed = shop.gollem("keys", "list", "--data", shop.data, "--json")
    assert made["key_id"] in listed
    assert made["key"] not in listed
    assert "revoked" in shop.gollem("keys", "revoke", made["key_id"], "--data", shop.data)
    shop.gollem("balance", account="eve", status=1)


def test_trades_why_and_spend_limit_tell_the_same_as_the_page(shop: Shop) -> None:
    shop.gollem("match", *BID, "--order-id", "traded")
    shop.gollem("match", *BID, "--max-latency", "1", status=1)
    told = shop.gollem("trades", "--model", "smollm2")
    assert "bob" in told
    assert "refused (latency" in told
    why = shop.gollem("why", account="bob")
    assert "latency limit that it does not meet" in why
    assert "with a first token within 1 ms it would win" in why
    assert json.loads(shop.gollem("why", "--json", account="bob"))["asks"][0]["ask_id"] == "smollm2-135m:cpu"
    assert "needs a key of role provider" in shop.gollem("why", status=1)
    assert "no limit" in shop.gollem("spend-limit")
    assert "of 0.00000001 credits" in shop.gollem("spend-limit", "--day", "0.00000001")
    refused = shop.gollem("match", *BID, "--order-id", "limited", status=1)
    assert "raise the limit with `gollem spend-limit`" in refused
    again = shop.gollem("spend-limit", "--month", "5").splitlines()
    assert ["0.00000001" in again[0], "5.00000000" in again[1]] == [True, True]
    for option in ("--day", "--month"):
        assert shop.gollem("spend-limit", option, "-1", status=1).startswith(f"gollem: {option}: must ")
    assert shop.gollem("match", *BID, "--max-price", "x", status=1).startswith("gollem: --max-price: must ")
    assert shop.gollem("spend-limit", "--day", "none", "--month", "none").count("no limit") == 2


def test_nobody_is_told_to_loosen_a_limit_where_nothing_is_offered(shop: Shop) -> None:
    assert "oosen" not in shop.gollem("match", *BID[2:], "--model", "gpt-4", status=1)


def test_a_book_that_is_watched_shows_what_changes_until_ctrl_c(shop: Shop) -> None:
    command = [sys.executable, "-m", "gollem", "book", "--watch", "--json", "--server", f"127.0.0.1:{shop.port}"]
    command += ["--key-file", str(shop.folder / "alice"), "--model", "smollm2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        before = json.loads(watching.stdout.readline())["models"][0]
        shop.gollem("match", *BID, "--order-id", "watched")
        after = json.loads(watching.stdout.readline())["models"][0]
        watching.send_signal(signal.SIGINT)
        _, said = watching.communicate(timeout=WITHIN_S)
    assert int(after["free_slots"]) == int(before["free_slots"]) - 1
    assert watching.returncode == 130
    assert "Traceback" not in said
    assert "Aborted" not in said


@pytest.mark.parametrize(
    "how",
    [
        lambda shop: ("--data", shop.data),
        lambda shop: ("--server", f"127.0.0.1:{shop.port}", "--key-file", str(shop.folder / "house")),
    ],
    ids=["from the file", "by the exchange"],
)
def test_the_audit_of_a_running_exchange(shop: Shop, how: Callable[[Shop], tuple[str, ...]]) -> None:
    books = json.loads(shop.gollem("ledger", "audit", "--json", *how(shop)))
    assert books["ok"]
    assert books["transactions"] > 0
    assert books["findings"] == []
