"""Who is calling: set by the middleware, read by the services. One value a call, whatever runs beside it."""

from contextvars import ContextVar

from gollem.errors import Forbidden
from gollem.identity import Principal, Role
from gollem.rpc import fields

_caller: ContextVar[Principal] = ContextVar("caller")


def set_caller(principal: Principal) -> None:
    _caller.set(principal)


def caller() -> Principal:
    """Whoever holds the key of this call."""
    return _caller.get()


def consumer() -> str:
    """The account, if the key may buy. Raises Forbidden."""
    return _require(Role.CONSUMER)


def operator() -> str:
    """The account, if the key may operate the exchange. Raises Forbidden."""
    return _require(Role.OPERATOR)


def selling(provider_id: str) -> str:
    """The provider of the key; if one is named, it must be that. Raises Forbidden."""
    if provider_id:
        provider(fields.account(provider_id, "provider_id"))
    return _require(Role.PROVIDER)


def readable(named: str, field: str = "account") -> str:
    """The account to read: the caller's own, or for an operator any. Raises Forbidden, InvalidField."""
    principal = caller()
    account = fields.account(named, field) if named else principal.account
    if account != principal.account and principal.role is not Role.OPERATOR:
        raise Forbidden("this key reads its own account only", account=account)
    return account


def sellers_own(named: str) -> str:
    """The provider to read: the key's own, or for an operator any that is named. Raises Forbidden, InvalidField."""
    if caller().role is Role.OPERATOR:
        return fields.account(named, "provider_id")
    return selling(named)


def reader() -> str:
    """Whose things the caller may read: the own account's, or everybody's (empty) for an operator."""
    principal = caller()
    return "" if principal.role is Role.OPERATOR else principal.account


def provider(provider_id: str) -> None:
    """Raises Forbidden unless the key sells for this provider."""
    account = _require(Role.PROVIDER)
    if account != provider_id:
        raise Forbidden(f"this key sells for {account}, not for {provider_id}", provider_id=provider_id)


def _require(role: Role) -> str:
    principal = caller()
    if principal.role is not role:
        raise Forbidden(
            f"this needs a key of role {role.value}, yours is {principal.role.value}", needed_role=role.value
        )
    return principal.account
