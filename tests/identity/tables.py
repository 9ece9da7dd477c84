"""Tables of API keys on the session's DynamoDB Local."""

from hashlib import blake2b
from pathlib import Path

from gollem.identity import make_key_table


async def make_keys_table(endpoint: str, folder: Path) -> str:
    """The URL of an empty table of the folder's own."""
    name = "keys-" + blake2b(str(folder).encode(), digest_size=8).hexdigest()
    url = f"dynamodb://{name}?endpoint={endpoint}&region=eu-west-1"
    await make_key_table(url)
    return url
