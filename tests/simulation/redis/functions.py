"""The exchange's own functions of Redis, run by a real interpreter of Lua 5.1, as Redis has one."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from lupa.lua51 import LuaRuntime, lua_type

# What a function calls of Redis: the command, then its arguments.
Call = Callable[..., Any]

_SETTING = """
function(call, register)
  redis = {call = call, register_function = function(of) register(of.function_name, of.callback) end}
end
"""


class Library:
    """The functions of one text, by their names. Every simulation of this process shares it: it remembers nothing."""

    def __init__(self, code: str) -> None:
        first, _, body = code.partition("\n")
        self.name = first.partition("name=")[2]
        self._lua: Any = LuaRuntime(unpack_returned_tuples=True)
        self._functions: dict[str, Any] = {}
        self._call: Call = _nobody
        self._lua.eval(_SETTING)(self._called, self._functions.__setitem__)
        self._lua.execute("\n" + body)

    def __contains__(self, function: str) -> bool:
        return function in self._functions

    def run(self, function: str, keys: Sequence[str], arguments: Sequence[str], call: Call) -> Any:
        """The function's reply, with its commands carried out by `call`."""
        self._call = call
        return _reply(self._functions[function](self._lua.table_from(keys), self._lua.table_from(arguments)))

    def _called(self, command: str, *arguments: Any) -> Any:
        return self._told(self._call(command, *map(str, arguments)))

    def _told(self, reply: Any) -> Any:
        """As Lua sees it: nothing is false."""
        if isinstance(reply, list):
            return self._lua.table_from([self._told(part) for part in reply])
        return False if reply is None else reply


@cache
def library(code: str) -> Library:
    """Read once."""
    return Library(code)


def _reply(value: Any) -> Any:
    return [_reply(part) for part in value.values()] if lua_type(value) == "table" else value


def _nobody(*parts: str) -> Any:
    raise AssertionError(f"called before any function ran: {parts}")
