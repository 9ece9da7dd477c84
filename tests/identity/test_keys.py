"""API keys: their form, their hash, and that a secret never shows."""

import hashlib

import pytest

from gollem.errors import InvalidField
from gollem.identity import Role
from gollem.identity.keys import make_key, proves, split_key

NOW_MS = 1_800_000_000_000


def test_key_is_an_id_and_256_random_bits() -> None:
    made = make_key("alice", Role.CONSUMER, NOW_MS)
    parts = split_key(made.secret)

    assert parts is not None
    key_id, secret = parts
    assert made.secret == f"glm_{key_id}_{secret}"
    assert made.key_id == key_id == made.record.key_id
    assert len(secret) == 43  # base64 of 32 bytes
    assert made.record.secret_sha256 == hashlib.sha256(secret.encode()).digest()
    assert (made.record.account, made.record.role, made.record.created_at_ms) == ("alice", Role.CONSUMER, NOW_MS)
    assert not made.record.revoked


def test_keys_differ() -> None:
    assert len({make_key("alice", Role.CONSUMER, NOW_MS).secret for _ in range(1_000)}) == 1_000


def test_only_the_right_secret_proves() -> None:
    one, other = (make_key("alice", Role.CONSUMER, NOW_MS) for _ in range(2))
    secret = one.secret.split("_", 2)[2]

    assert proves(secret, one.record)
    assert not proves(secret, other.record)
    assert not proves(secret[:-1] + ("A" if secret[-1] != "A" else "B"), one.record)
    assert not proves("", one.record)


def test_secret_never_shows() -> None:
    made = make_key("alice", Role.CONSUMER, NOW_MS)
    secret = made.secret.split("_", 2)[2]
    for shown in (repr(made), str(made), repr(made.record), f"{made.record}"):
        assert secret not in shown
        assert made.record.secret_sha256.hex() not in shown
        assert repr(made.record.secret_sha256) not in shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "glm_",
        "glm_0123456789abcdef_",
        "glm_0123456789abcdef_" + "a" * 42,
        "glm_0123456789abcdef_" + "a" * 44,
        "glm_0123456789ABCDEF_" + "a" * 43,
        "glm_0123456789abcdef_" + "a" * 42 + "\n",
        "glm_0123456789abcdef_" + "\u00e9" * 43,
        "glm_0123456789abcdef_" + "a" * 43 + "\n",
        "xlm_0123456789abcdef_" + "a" * 43,
        "a" * 1_000_000,
    ],
)
def test_other_texts_are_no_keys(text: str) -> None:
    assert split_key(text) is None


@pytest.mark.parametrize("account", ["a", "A-b_c.9", "x" * 64])
def test_names_that_will_do(account: str) -> None:
    assert make_key(account, Role.PROVIDER, NOW_MS).record.account == account


@pytest.mark.parametrize("account", ["", "x" * 65, "a b", "a:b", "a/b", "\u00e9", "a\n"])
def test_names_that_will_not(account: str) -> None:
    with pytest.raises(InvalidField, match="account: must be 1 to 64"):
        make_key(account, Role.CONSUMER, NOW_MS)
