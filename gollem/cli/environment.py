"""Variables of the environment that look like settings and are none: told, for they may be misspelt; not refused."""

import difflib
import os
from collections.abc import Mapping

from gollem.config import PREFIX, Config, describe, variable_of

# Of clients, of the agent, and of the documents' own commands.
_NO_SETTINGS = frozenset(
    f"{PREFIX}{name}" for name in ("API_KEY", "SERVER", "UPSTREAM_API_KEY", "PROVIDER_KEY", "OPERATOR_KEY")
)


def not_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """A line for each, with the nearest one that there is; never its value. Of a section that there is, each name that
    is unknown is a fault (`gollem.config.load`)."""
    keys = [key for key, _, _ in describe(Config())]
    sections = tuple(variable_of(f"{section}.") for section in {key.partition(".")[0] for key in keys})
    strangers = [name for name in environment if name.startswith(PREFIX) and not name.upper().startswith(sections)]
    variables = list(map(variable_of, keys))
    return [_told(name, variables) for name in sorted(set(strangers) - _NO_SETTINGS)]


def _told(name: str, variables: list[str]) -> str:
    near = difflib.get_close_matches(name.upper(), variables, n=1)
    return f"{name} is no setting and changes nothing" + (f"; did you mean {near[0]}?" if near else "")
