"""Settings come from file, environment and flags, in this order, and whatever is wrong is named."""

from pathlib import Path

import pytest

from gollem.config import Config, ConfigError, ProvidersConfig, describe, load


def test_defaults_are_those_of_the_documents() -> None:
    config = load()
    assert (config.server.port, config.market.fee_bps, config.exchange.grant_ttl_ms) == (50_051, 500, 60_000)
    assert (config.providers.withdraw_after_ms, config.providers.forget_after_ms) == (10_000, 120_000)


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "gollem.toml"
    file.write_text('[server]\nport = 1\nhost = "a"\n[market]\nfee_bps = 7\n')
    environment = {"GOLLEM_SERVER_PORT": "2", "GOLLEM_SERVER_HOST": "b", "GOLLEM_API_KEY": "no setting", "PATH": "x"}
    config = load(file, environment, {"server.port": "3"})
    assert (config.server.port, config.server.host, config.market.fee_bps) == (3, "b", 7)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"server.prot": "1"}, "server.prot"),
        ({"nothing.port": "1"}, "nothing.port"),
        ({"observability.emf": "perhaps"}, "observability.emf"),
        ({"observability.log": "xml"}, "observability.log"),
        ({"observability.level": "loud"}, "observability.level"),
        ({"server.port": "65536"}, "server.port"),
        ({"server.port": "-1"}, "server.port"),
        ({"server.port": "8o"}, "server.port"),
        ({"market.fee_bps": "10001"}, "market.fee_bps"),
        ({"providers.withdraw_after_ms": "500"}, "providers.telemetry_interval_ms"),
    ],
)
def test_mistakes_are_named(overrides: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        load(overrides=overrides)


def test_a_switch_is_on_or_off(tmp_path: Path) -> None:
    file = tmp_path / "gollem.toml"
    file.write_text("[observability]\nemf = true\n")
    assert load(file).observability.emf is True
    assert load(file, {"GOLLEM_OBSERVABILITY_EMF": "false"}).observability.emf is False
    assert load().observability.emf is False


@pytest.mark.parametrize(
    ("text", "said"), [("[server", "is not TOML"), ("server = 1", r"\[server\]"), ("[server]\nport = true", "port")]
)
def test_a_bad_file_is_explained(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "gollem.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "missing.toml")


def test_every_setting_is_described() -> None:
    shown = {key: about for key, _, about in describe(Config(providers=ProvidersConfig()))}
    assert len(shown) > 20
    assert all(shown.values())


def test_the_data_folder_is_its_owners_alone(tmp_path: Path) -> None:
    config = load(overrides={"storage.data": str(tmp_path / "data")})
    assert config.storage.folder().stat().st_mode & 0o777 == 0o700
    assert config.storage.ledger_url() == f"sqlite://{tmp_path / 'data' / 'ledger.db'}"


@pytest.mark.parametrize("url", ["", "example.com", "http://example.com/", "javascript:alert(1)", "https://a b"])
def test_where_providers_come_back_to_is_an_address(url: str) -> None:
    with pytest.raises(ConfigError, match=r"payments\.return_url: must be an https:// address"):
        load(overrides={"payments.return_url": url})


def test_what_is_paid_out_by_itself_is_no_less_than_the_least() -> None:
    with pytest.raises(ConfigError, match=r"payout_cents: must be at least payments\.least_payout_cents, 500"):
        load(overrides={"payments.payout_cents": "499", "payments.least_payout_cents": "500"})
    load(overrides={"payments.payout_cents": "500", "payments.least_payout_cents": "500"})
