"""What providers have earned: it matures some days later, debt repaid first, and may be clawed back."""

from gollem.clock import DAY_MS, utc_day
from gollem.errors import InvariantBroken
from gollem.ledger.accounts import BAD_DEBT, payable_account, provider_debt, user_account
from gollem.ledger.rules.parts import debt_first, debt_last, digest, require_names, require_positive
from gollem.ledger.types import BalanceIs, Earnings, Kind, Leg, Transaction


def last_due_day(now_ms: int, delay_days: int) -> str:
    """The last UTC day (yyyymmdd) whose earnings are due: `delay_days` before today's. With 0, earnings are due at
    once, and a day matures in as many parts as it is looked at: for trying things, not for many orders."""
    if delay_days < 0:
        raise InvariantBroken(f"a delay of {delay_days} days")
    return utc_day(now_ms - delay_days * DAY_MS)


def mature(earned: Earnings, debt_atoms: int, delay_days: int, now_ms: int, part: int = 0) -> Transaction:
    """All of a provider's earnings of a day become payable, less debt. Key `mature:{provider}:{day}`.

    `debt_atoms` is the provider's as just read. What was booked on a day after it had matured (a clock ran back) is
    another `part` of it, 1 and up, with the key `mature:{provider}:{day}:{part}`."""
    if not earned.shards or earned.day > last_due_day(now_ms, delay_days):
        raise InvariantBroken(f"earnings of {earned.provider} of {earned.day} are not due, or there are none")
    debt_account = provider_debt(earned.provider)
    suffix = f":{part}" if part else ""
    return Transaction(
        key=f"mature:{earned.provider}:{earned.day}{suffix}",
        kind=Kind.MATURE,
        legs=(
            *(Leg(account, -atoms) for account, atoms in earned.shards.items()),
            *debt_first(payable_account(earned.provider), debt_account, debt_atoms, earned.atoms),
        ),
        fingerprint=digest("mature", earned.provider, earned.day, part),
        at_ms=now_ms,
        guards=(
            *(BalanceIs(account, atoms) for account, atoms in earned.shards.items()),
            BalanceIs(debt_account, -debt_atoms),
        ),
    )


def clawback(
    case_id: str,
    provider: str,
    amount_atoms: int,
    payable_atoms: int,
    now_ms: int,
    to_user: str = "",
    operator: str = "",
) -> Transaction:
    """Proven fraud: the provider loses what is payable, and owes the rest. It goes to the user who was harmed, or makes
    up for what the platform wrote off. Key `claw:{case_id}`.

    `payable_atoms` is the provider's as just read; `operator` decided it."""
    require_names(case_id=case_id, provider=provider)
    require_positive(f"clawback {case_id}", amount_atoms)
    account = payable_account(provider)
    receiver = user_account(to_user) if to_user else BAD_DEBT
    return Transaction(
        key=f"claw:{case_id}",
        kind=Kind.CLAWBACK,
        legs=(
            *debt_last(account, provider_debt(provider), payable_atoms, amount_atoms),
            Leg(receiver, amount_atoms),
        ),
        fingerprint=digest("claw", provider, amount_atoms, to_user),
        at_ms=now_ms,
        guards=(BalanceIs(account, payable_atoms),),
        detail=operator,
    )
