"""The mutants of the ledger, as data: what `make mutants` breaks, and which tests have to turn red.

A text is found exactly once in its file, or the mutant counts as lost (tests/ledger/test_mutants.py looks).
"""

from dataclasses import dataclass

LEDGER = "gollem/ledger"
POST, WRITER, FILE = f"{LEDGER}/sqlite_post.py", f"{LEDGER}/sqlite_writer.py", f"{LEDGER}/sqlite_file.py"
SCHEMA, AUDIT, CHECKS = f"{LEDGER}/schema.sql", f"{LEDGER}/audit.py", f"{LEDGER}/checks.py"
MEMORY, RULES = f"{LEDGER}/memory.py", f"{LEDGER}/rules.py"

ON_SQLITE = ("tests/ledger/test_sqlite.py",)
ON_MODEL = ("tests/ledger/test_memory.py",)
ON_BOTH = ON_SQLITE + ON_MODEL
ON_AUDIT = ("tests/ledger/test_audit.py",)
ON_CRASH = ("tests/ledger/test_crash.py",)
ON_POWER = ("tests/ledger/test_power_loss.py",)


@dataclass(frozen=True)
class Mutant:
    """Replace `text` in `file`; at least one of `tests` has to fail."""

    name: str
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]


MUTANTS = [
    # --- the guards, on SQLite --------------------------------------------------------------------------------------
    Mutant(
        "credits are not checked", POST, "AND balance_atoms >= ? AND", "AND (1 OR balance_atoms >= ?) AND", ON_SQLITE
    ),
    Mutant("a frozen account may hold", POST, "AND active >= ?", "AND (1 OR active >= ?)", ON_SQLITE),
    Mutant("a closed hold is closed again", POST, "AND state = 'OPEN' AND", "AND", ON_SQLITE),
    Mutant(
        "the hold's amount is not compared",
        POST,
        "remaining_atoms = ? AND fence",
        "(1 OR remaining_atoms = ?) AND fence",
        ON_SQLITE,
    ),
    Mutant("the fence is not compared", POST, "AND fence = ?", "AND (1 OR fence = ?)", ON_SQLITE),
    Mutant(
        "a hold expires before its deadline", POST, "AND expires_at_ms <= ?", "AND (1 OR expires_at_ms <= ?)", ON_SQLITE
    ),
    Mutant("a hold of another user is closed", POST, "AND user = ?\n", "AND (1 OR user = ?)\n", ON_SQLITE),
    Mutant(
        "an order is held twice",
        POST,
        "if cursor.execute(_INSERT_HOLD, row).rowcount != 1:",
        "if cursor.execute(_INSERT_HOLD, row) is None:",
        ON_SQLITE,
    ),
    # --- each key once ----------------------------------------------------------------------------------------------
    Mutant(
        "a key is written again",
        POST,
        "if not _insert_entry(cursor, entry):",
        "if not _insert_entry(cursor, entry) and False:",
        ON_SQLITE,
    ),
    Mutant(
        "the fingerprint is not compared",
        CHECKS,
        "if first.fingerprint != transaction.fingerprint:",
        "if False:",
        ON_BOTH,
    ),
    Mutant(
        "a replay claims to be new",
        CHECKS,
        "return Posted(applied=False, entry=first)",
        "return Posted(applied=True, entry=first)",
        ON_BOTH,
    ),
    # --- durability, and the group ----------------------------------------------------------------------------------
    Mutant("commits are not synced", FILE, '"synchronous = FULL"', '"synchronous = NORMAL"', ON_POWER),
    Mutant(
        "answers come before the commit",
        WRITER,
        "            self._groups.put(group)\n",
        "            self._groups.put(group)\n            self._finish(group, None)\n",
        ON_POWER + ON_CRASH,
    ),
    Mutant(
        "a refused operation leaves its traces",
        WRITER,
        'self._cursor.execute("ROLLBACK TO operation")',
        "pass",
        ON_SQLITE,
    ),
    Mutant(
        "one operation's bug fails its group",
        WRITER,
        "return not isinstance(error, sqlite3.Error) or isinstance(error, sqlite3.IntegrityError)",
        "return not isinstance(error, sqlite3.Error)",
        ON_SQLITE,
    ),
    Mutant(
        "a failed commit counts as committed",
        WRITER,
        "if error is None:\n            self._finish",
        "if error is None or True:\n            self._finish",
        ON_CRASH,
    ),
    Mutant(
        "a failed commit is told as certain",
        WRITER,
        "self._finish(group, OutcomeUnknown(",
        "self._finish(group, LedgerUnavailable(",
        ON_CRASH,
    ),
    Mutant(
        "a certain failure is told as unknown",
        WRITER,
        "self._finish(group, LedgerUnavailable(",
        "self._finish(group, OutcomeUnknown(",
        ON_SQLITE,
    ),
    Mutant(
        "a failed group is not rolled back",
        WRITER,
        "            with suppress(sqlite3.Error):\n                self._roll_back()\n",
        "",
        ON_SQLITE,
    ),
    Mutant(
        "numbers of entries have holes",
        WRITER,
        "self._last_sequence += waiting.answer.applied",
        "self._last_sequence += 1",
        (*ON_SQLITE, "tests/ledger/test_random_programs.py"),
    ),
    Mutant("the queue has no end", WRITER, "if len(self._waiting) >= self._max_waiting:", "if False:", ON_SQLITE),
    Mutant("closing forgets what waits", WRITER, "await self._idle.wait()", "pass", ON_SQLITE),
    # --- the file ---------------------------------------------------------------------------------------------------
    Mutant(
        "a second process may write", FILE, "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", ON_SQLITE
    ),
    Mutant("books that do not balance are opened", FILE, "if total_atoms:", "if False:", ON_SQLITE),
    Mutant("a damaged file is opened", FILE, "if problems:", "if False:", ON_SQLITE),
    Mutant(
        "another program's file is opened",
        FILE,
        "if (application_id, version) != (_APPLICATION_ID, SCHEMA_VERSION):",
        "if False:",
        ON_SQLITE,
    ),
    Mutant(
        "entries may be changed",
        SCHEMA,
        "CREATE TRIGGER entry_is_final BEFORE UPDATE ON entry",
        "CREATE TRIGGER entry_is_final BEFORE UPDATE ON entry WHEN 0",
        ON_SQLITE,
    ),
    Mutant(
        "entries may be deleted",
        SCHEMA,
        "CREATE TRIGGER entry_stays BEFORE DELETE ON entry",
        "CREATE TRIGGER entry_stays BEFORE DELETE ON entry WHEN 0",
        ON_SQLITE,
    ),
    Mutant(
        "legs may be changed",
        SCHEMA,
        "CREATE TRIGGER leg_is_final BEFORE UPDATE ON leg",
        "CREATE TRIGGER leg_is_final BEFORE UPDATE ON leg WHEN 0",
        ON_SQLITE,
    ),
    Mutant(
        "legs may be deleted",
        SCHEMA,
        "CREATE TRIGGER leg_stays BEFORE DELETE ON leg",
        "CREATE TRIGGER leg_stays BEFORE DELETE ON leg WHEN 0",
        ON_SQLITE,
    ),
    Mutant(
        "holds may be deleted",
        SCHEMA,
        "CREATE TRIGGER hold_stays BEFORE DELETE ON hold",
        "CREATE TRIGGER hold_stays BEFORE DELETE ON hold WHEN 0",
        ON_SQLITE,
    ),
    Mutant("a closed hold may be opened", SCHEMA, "WHEN old.state <> 'OPEN'", "WHEN 0", ON_SQLITE),
    Mutant(
        "the file takes a negative user",
        SCHEMA,
        "CHECK (balance_atoms >= 0 OR account NOT GLOB 'U:*')",
        "CHECK (1)",
        ON_SQLITE,
    ),
    # --- what never reaches a store ---------------------------------------------------------------------------------
    Mutant("unbalanced legs are taken", CHECKS, "if total_atoms:", "if False:", ON_BOTH),
    Mutant(
        "a debit needs no guard",
        CHECKS,
        "if not any(_covers(guard, leg) for guard in transaction.guards):",
        "if False:",
        ON_BOTH,
    ),
    Mutant("a guard of less covers a debit", CHECKS, " and guard.atoms >= -debit.amount_atoms", "", ON_BOTH),
    Mutant(
        "amounts may be floats",
        CHECKS,
        "if type(amount) is not int or not 0 < abs(amount) < MAX_ATOMS:",
        "if not 0 < abs(amount) < MAX_ATOMS:",
        ON_BOTH,
    ),
    Mutant("amounts have no bound", CHECKS, "not 0 < abs(amount) < MAX_ATOMS", "amount == 0", ON_BOTH),
    Mutant(
        "escrow moves without a hold",
        CHECKS,
        'return "escrow moves without its hold" if escrow else None',
        "return None",
        ON_BOTH,
    ),
    Mutant(
        "an account may have two legs",
        CHECKS,
        "if len({leg.account for leg in legs}) != len(legs):",
        "if False:",
        ON_BOTH,
    ),
    Mutant(
        "more is settled than held",
        RULES,
        "if not 0 <= fee_atoms <= usage_atoms <= hold.amount_atoms:",
        "if False:",
        ON_BOTH,
    ),
    # --- the guards, on the model -----------------------------------------------------------------------------------
    Mutant("the model: credits are not checked", MEMORY, "if available < atoms:", "if False:", ON_MODEL),
    Mutant(
        "the model: a frozen account may hold",
        MEMORY,
        "if not self._accounts.get(user_account(user), _Account()).active:",
        "if False:",
        ON_MODEL,
    ),
    Mutant("the model: holds are not guarded", MEMORY, "if not checks.meets(hold, guard):", "if False:", ON_MODEL),
    Mutant("the model: a key is written again", MEMORY, "if first:", "if False:", ON_MODEL),
    Mutant(
        "the model: the fence is not compared",
        CHECKS,
        "(hold.remaining_atoms, hold.fence) != (guard.amount_atoms, guard.fence)",
        "hold.remaining_atoms != guard.amount_atoms",
        ON_MODEL,
    ),
    Mutant("the model: balances leave their range", MEMORY, "abs(new.balance_atoms) >= MAX_ATOMS or ", "", ON_MODEL),
    # --- the audit --------------------------------------------------------------------------------------------------
    Mutant("the seal is not compared", AUDIT, "if seal(entry) != stored_seal:", "if False:", ON_AUDIT),
    Mutant("the seal leaves out the detail", AUDIT, "entry.order_id, entry.detail]", "entry.order_id]", ON_AUDIT),
    Mutant("the seal leaves out the fingerprint", AUDIT, "entry.kind, entry.fingerprint,", "entry.kind,", ON_AUDIT),
    Mutant(
        "the seal leaves out the legs",
        AUDIT,
        'parts += [f"{leg.account}={leg.amount_atoms}" for leg in entry.legs]',
        "pass",
        ON_AUDIT,
    ),
    Mutant("sums of legs are not checked", AUDIT, "        if difference:\n", "        if False:\n", ON_AUDIT),
    Mutant("balances are not compared with legs", AUDIT, "if is_atoms == should_atoms:", "if True:", ON_AUDIT),
    Mutant("the trial balance is not drawn", AUDIT, "    if total:\n", "    if False:\n", ON_AUDIT),
    Mutant(
        "accounts that are gone are not missed",
        AUDIT,
        "for account, legs_atoms in sums.items():",
        "for account, legs_atoms in ():",
        ON_AUDIT,
    ),
    Mutant(
        "what is held is not compared with holds",
        AUDIT,
        "for account in sorted(held.keys() | open_atoms.keys()):",
        "for account in ():",
        ON_AUDIT,
    ),
]
