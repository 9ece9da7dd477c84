"""AccountService: whose key it is, and the keys of the same account."""

from typing import Any

from gollem.errors import Forbidden, TooManyKeys
from gollem.identity import KeyStore
from gollem.rpc import context, encode_admin, fields
from gollem.rpc.pb import account_pb2, admin_pb2
from gollem.rpc.pb.account_grpc import AccountServiceBase
from gollem.rpc.unary import answer

_MAX_KEYS = 32  # that are not revoked


class AccountService(AccountServiceBase):
    """Answers any key, about its own account only."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    async def WhoAmI(self, stream: Any) -> None:
        await answer(stream, self._who)

    async def ListOwnKeys(self, stream: Any) -> None:
        await answer(stream, self._list)

    async def CreateOwnKey(self, stream: Any) -> None:
        await answer(stream, self._create)

    async def RevokeOwnKey(self, stream: Any) -> None:
        await answer(stream, self._revoke)

    async def _who(self, request: account_pb2.WhoAmIRequest) -> account_pb2.WhoAmIResponse:
        caller = context.caller()
        return account_pb2.WhoAmIResponse(account=caller.account, role=caller.role.value, key_id=caller.key_id)

    async def _list(self, request: account_pb2.ListOwnKeysRequest) -> account_pb2.ListOwnKeysResponse:
        keys = await self._keys.list(context.caller().account)
        return account_pb2.ListOwnKeysResponse(keys=map(encode_admin.key_info, keys))

    async def _create(self, request: account_pb2.CreateOwnKeyRequest) -> admin_pb2.CreateKeyResponse:
        caller = context.caller()
        if fields.account(request.account, "account") != caller.account:
            raise Forbidden("this key makes keys of its own account only", account=request.account)
        kept = sum(not key.revoked for key in await self._keys.list(caller.account))
        if kept >= _MAX_KEYS:
            raise TooManyKeys(f"an account has at most {_MAX_KEYS} keys: revoke one first", limit=_MAX_KEYS)
        made = await self._keys.create(caller.account, caller.role)
        return admin_pb2.CreateKeyResponse(key_id=made.key_id, key=made.secret)

    async def _revoke(self, request: account_pb2.RevokeOwnKeyRequest) -> admin_pb2.RevokeKeyResponse:
        key_id = fields.account(request.key_id, "key_id")
        key = await self._keys.find(key_id)
        is_own = key is not None and key.account == context.caller().account
        return admin_pb2.RevokeKeyResponse(revoked=is_own and await self._keys.revoke(key_id))
