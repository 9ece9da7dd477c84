"""The keys that sign grants: where they come from, that they never show, and that they can be changed."""

import base64
from itertools import pairwise, product
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gollem.config import ConfigError, describe, load
from gollem.exchange import Matched, Terms
from gollem.nodes.roll import _agree
from gollem.rpc import GrantSigner
from provider_agent.grants import Seller, check_grant
from provider_agent.refusals import Refusal

NOW_MS = 1_800_000_000_000
OLD, NEW = (base64.urlsafe_b64encode(bytes([fill]) * 32).rstrip(b"=").decode() for fill in (251, 2))
TERMS = Terms(
    provider_id="p1",
    ask_id="a",
    model="gpt-4",
    gpu_type="h100",
    endpoint="127.0.0.1:9",
    price_ticks=1,
    completion_price_ticks=1,
    model_micro=1,
    gpu_centi=1,
    prompt_tokens=10,
    max_tokens=10,
    latency_us=1,
    tpot_ns=1,
    measured=False,
    front_size=1,
    fee_bps=500,
    matched_at_ms=NOW_MS,
    grant_expires_at_ms=NOW_MS + 60_000,
)
MATCHED = Matched("o1", TERMS, 1, 1, NOW_MS + 120_000, (), replayed=False, fence=7)


def opened(secret: str) -> GrantSigner:
    return GrantSigner.open(Path("/nowhere/grant.key"), secret)


def accepts(learned: tuple[bytes, ...], grant: str) -> bool:
    keys = [Ed25519PublicKey.from_public_bytes(key) for key in learned]
    try:
        return check_grant(grant, keys, Seller("p1", "a", "gpt-4"), NOW_MS).fence == 7
    except Refusal:
        return False


def test_nodes_with_the_same_keys_sign_alike_and_need_no_folder() -> None:
    one, other = opened(f"{OLD},{NEW}"), opened(f" {OLD} , {NEW}=")
    assert one.grant(MATCHED) == other.grant(MATCHED)
    assert one.names == other.names
    assert one.public_keys == (one.public_key, opened(NEW).public_key)
    assert accepts((one.public_key,), other.grant(MATCHED)), "an agent of before knows one key"


def test_keys_change_in_three_rounds_without_a_good_grant_refused() -> None:
    """Within a round some nodes are ahead of others; an agent has what the node told it that it registered with."""
    rounds = [OLD, f"{OLD},{NEW}", f"{NEW},{OLD}", NEW]
    for before, after in pairwise(rounds):
        nodes = [opened(before), opened(after)]
        for told_by, signed_by in product(nodes, nodes):
            assert accepts(told_by.public_keys, signed_by.grant(MATCHED))
            assert _agree(told_by.names, signed_by.names)


def test_a_round_left_out_is_noticed() -> None:
    before, after = opened(OLD), opened(f"{NEW},{OLD}")
    assert not accepts(before.public_keys, after.grant(MATCHED))
    assert not _agree(before.names, after.names)
    assert not _agree(after.names, before.names)
    assert _agree(before.names, ()), "an older release tells none"


def test_the_folders_key_is_made_once_and_can_be_given_to_other_nodes(tmp_path: Path) -> None:
    kept = GrantSigner.open(tmp_path / "grant.key")
    assert GrantSigner.open(tmp_path / "grant.key").names == kept.names
    text = base64.urlsafe_b64encode((tmp_path / "grant.key").read_bytes()).decode()
    assert opened(text).names == kept.names


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("secret-text", "key 1 must be 32 bytes"),
        (f"{OLD},", "key 2 must be 32 bytes"),
        (f"{OLD},{NEW[:-3]}", "key 2 must be 32 bytes"),
        (f"{OLD},{OLD}", "each once"),
        (",".join(base64.urlsafe_b64encode(bytes([n]) * 32).decode() for n in range(9)), "at most 8"),
    ],
)
def test_what_is_wrong_with_keys_is_said_without_them(secret: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"storage.grant_keys: .*{said}") as caught:
        opened(secret)
    assert all(part not in str(caught.value) for part in secret.split(",") if part)


def test_keys_do_not_show() -> None:
    config = load(environment={"GOLLEM_STORAGE_GRANT_KEYS": OLD})
    assert config.storage.grant_keys == OLD
    assert OLD not in repr(config)
    assert OLD not in str(describe(config))
