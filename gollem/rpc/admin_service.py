"""AdminService: what operators call."""

from dataclasses import asdict
from typing import Any

from gollem import units
from gollem.errors import InvalidField
from gollem.exchange import Accounts
from gollem.identity import KeyStore, Role
from gollem.nodes import SharedBook
from gollem.rpc import context, encode_admin, fields
from gollem.rpc.case_calls import CaseCalls
from gollem.rpc.pb import admin_pb2
from gollem.rpc.pb.admin_grpc import AdminServiceBase
from gollem.rpc.unary import answer

_MAX_GRANT_ATOMS = 1_000_000 * units.ATOMS_PER_CREDIT
_ROLES = {role.value: role for role in Role}


class AdminService(AdminServiceBase):
    """Decodes, calls the use case, encodes. Every call needs a key of role operator."""

    def __init__(self, accounts: Accounts, cases: CaseCalls, keys: KeyStore, shared: SharedBook) -> None:
        self._shared = shared
        self._accounts = accounts
        self._cases = cases
        self._keys = keys

    async def CreateKey(self, stream: Any) -> None:
        await answer(stream, self._create_key)

    async def ListKeys(self, stream: Any) -> None:
        await answer(stream, self._list_keys)

    async def RevokeKey(self, stream: Any) -> None:
        await answer(stream, self._revoke_key)

    async def GrantCredits(self, stream: Any) -> None:
        await answer(stream, self._grant_credits)

    async def Audit(self, stream: Any) -> None:
        await answer(stream, self._audit)

    async def ListCases(self, stream: Any) -> None:
        await answer(stream, self._cases.list)

    async def RefundPurchase(self, stream: Any) -> None:
        await answer(stream, self._cases.refund)

    async def SetFrozen(self, stream: Any) -> None:
        await answer(stream, self._cases.set_frozen)

    async def ProposeAdjustment(self, stream: Any) -> None:
        await answer(stream, self._cases.propose)

    async def ApproveAdjustment(self, stream: Any) -> None:
        await answer(stream, self._cases.approve)

    async def RejectAdjustment(self, stream: Any) -> None:
        await answer(stream, self._cases.reject)

    async def ClawBack(self, stream: Any) -> None:
        await answer(stream, self._cases.claw_back)

    async def ReviveEvent(self, stream: Any) -> None:
        await answer(stream, self._cases.revive)

    async def WriteOffDispute(self, stream: Any) -> None:
        await answer(stream, self._cases.write_off)

    async def ResolveMovement(self, stream: Any) -> None:
        await answer(stream, self._cases.resolve)

    async def HaltPayouts(self, stream: Any) -> None:
        await answer(stream, self._cases.halt_payouts)

    async def ResumePayouts(self, stream: Any) -> None:
        await answer(stream, self._cases.resume_payouts)

    async def TakeBackPayout(self, stream: Any) -> None:
        await answer(stream, self._cases.take_back)

    async def CloseAlert(self, stream: Any) -> None:
        await answer(stream, self._cases.close_alert)

    async def PaymentsReport(self, stream: Any) -> None:
        await answer(stream, self._cases.report)

    async def ListNodes(self, stream: Any) -> None:
        await answer(stream, self._list_nodes)

    async def _create_key(self, request: admin_pb2.CreateKeyRequest) -> admin_pb2.CreateKeyResponse:
        context.operator()
        account = fields.account(request.account, "account")
        if request.role not in _ROLES:
            raise InvalidField("role", f"must be one of {', '.join(_ROLES)}")
        made = await self._keys.create(account, _ROLES[request.role])
        return admin_pb2.CreateKeyResponse(key_id=made.key_id, key=made.secret)

    async def _list_keys(self, request: admin_pb2.ListKeysRequest) -> admin_pb2.ListKeysResponse:
        context.operator()
        account = fields.account(request.account, "account") if request.account else None
        return admin_pb2.ListKeysResponse(keys=map(encode_admin.key_info, await self._keys.list(account)))

    async def _revoke_key(self, request: admin_pb2.RevokeKeyRequest) -> admin_pb2.RevokeKeyResponse:
        context.operator()
        key_id = fields.account(request.key_id, "key_id")
        return admin_pb2.RevokeKeyResponse(revoked=await self._keys.revoke(key_id))

    async def _grant_credits(self, request: admin_pb2.GrantCreditsRequest) -> admin_pb2.GrantCreditsResponse:
        context.operator()
        grant_id = fields.order_id(request.grant_id, "grant_id")
        account = fields.account(request.account, "account")
        amount_atoms = fields.positive_atoms(request.amount, "amount", _MAX_GRANT_ATOMS)
        applied = await self._accounts.grant(grant_id, account, amount_atoms)
        standing = await self._accounts.standing(account)
        return admin_pb2.GrantCreditsResponse(
            available=units.format_fixed(standing.balance.available_atoms), replayed=not applied
        )

    async def _list_nodes(self, request: admin_pb2.ListNodesRequest) -> admin_pb2.ListNodesResponse:
        context.operator()
        nodes = await self._shared.nodes()
        return admin_pb2.ListNodesResponse(nodes=[admin_pb2.NodeInfo(**asdict(node)) for node in nodes])

    async def _audit(self, request: admin_pb2.AuditRequest) -> admin_pb2.AuditResponse:
        context.operator()
        report = await self._accounts.audit()
        return admin_pb2.AuditResponse(
            ok=report.ok,
            transactions=report.transactions,
            accounts=report.accounts,
            findings=list(report.findings)[:100],
        )
