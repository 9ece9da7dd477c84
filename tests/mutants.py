"""The mutants of the ledger, as data: what `make mutants` breaks, and which tests have to turn red.

A text is found exactly once in its file, or the mutant counts as lost (tests/ledger/test_mutants.py looks).
"""

from dataclasses import dataclass

LEDGER = "gollem/ledger"
POST, WRITER, FILE = f"{LEDGER}/sqlite_post.py", f"{LEDGER}/sqlite_writer.py", f"{LEDGER}/sqlite_file.py"
SCHEMA, AUDIT, CHECKS = f"{LEDGER}/schema.sql", f"{LEDGER}/audit.py", f"{LEDGER}/checks.py"
MEMORY, REFUSALS, ORDERS = f"{LEDGER}/memory.py", f"{LEDGER}/refusals.py", f"{LEDGER}/rules/orders.py"
SPENDING = f"{LEDGER}/rules/spending.py"
READS, RECORDS = f"{LEDGER}/sqlite_reads.py", f"{LEDGER}/sqlite_records.py"
STATEMENTS, SQLITE_AUDIT = f"{LEDGER}/sqlite_statements.py", f"{LEDGER}/sqlite_audit.py"
PLAN, CHANGES = f"{LEDGER}/dynamodb/plan.py", f"{LEDGER}/dynamodb/changes.py"
CLIENT, DYNAMODB_WRITER = f"{LEDGER}/dynamodb/client.py", f"{LEDGER}/dynamodb/writer.py"


@dataclass(frozen=True)
class Tests:
    """Files, and which of their tests by pytest's -k."""

    files: tuple[str, ...]
    only: str = ""


CONTRACT = "tests/contracts/test_orders.py"
ON_MODEL = Tests((CONTRACT,), "model")
ON_SQLITE = Tests((CONTRACT, "tests/ledger/test_sqlite.py"), "sqlite")
ON_AUDIT = Tests(("tests/ledger/test_audit.py",))
ON_CRASH = Tests(("tests/ledger/test_crash.py",))
ON_POWER = Tests(("tests/ledger/test_power_loss.py",))
ON_LIMITS = Tests(("tests/contracts/test_spend_limits.py",), "sqlite")
ON_FAULTS = Tests(("tests/ledger/test_faults.py",))


def on_dynamodb(only: str) -> Tests:
    """Few of the contract: each is a request to an emulator."""
    return Tests((CONTRACT,), f"dynamodb and ({only})")


def meeting_faults(only: str) -> Tests:
    return Tests(("tests/ledger/test_dynamodb_faults.py",), only)


def conforming(number: str, backend: str = "sqlite") -> Tests:
    """One invariant of the kit on one backend."""
    return Tests(("tests/contracts/test_conformance.py",), f"inv_{number} and {backend}")


@dataclass(frozen=True)
class Mutant:
    """Replace `text` in `file`; at least one of `tests` has to fail."""

    name: str
    file: str
    text: str
    replacement: str
    tests: Tests


MUTANTS = [
    # --- the guards, on SQLite --------------------------------------------------------------------------------------
    Mutant(
        "credits are not checked", POST, "AND balance_atoms >= ? AND", "AND (1 OR balance_atoms >= ?) AND", ON_SQLITE
    ),
    Mutant("a frozen account may hold", POST, "AND active >= ?", "AND (1 OR active >= ?)", ON_SQLITE),
    Mutant(
        "a closed hold is closed again",
        POST,
        "AND state = 'OPEN' AND remaining_atoms = ?",
        "AND (1 OR remaining_atoms = ?)",
        ON_SQLITE,
    ),
    Mutant(
        "the hold's amount is not compared",
        POST,
        "AND remaining_atoms = ? AND fence",
        "AND (1 OR remaining_atoms = ?) AND fence",
        ON_SQLITE,
    ),
    Mutant("the fence is not compared", POST, "AND fence = ?", "AND (1 OR fence = ?)", ON_SQLITE),
    Mutant(
        "a hold expires before its deadline", POST, "AND expires_at_ms <= ?", "AND (1 OR expires_at_ms <= ?)", ON_SQLITE
    ),
    Mutant("a hold of another user is closed", POST, "AND user = ?\n", "AND (1 OR user = ?)\n", ON_SQLITE),
    # --- each key once ----------------------------------------------------------------------------------------------
    Mutant(
        "a key is written again",
        POST,
        "if not _insert_entry(cursor, entry):",
        "if not _insert_entry(cursor, entry) and False:",
        ON_SQLITE,
    ),
    Mutant("the fingerprint is not compared", REFUSALS, "if first.fingerprint != fingerprint:", "if False:", ON_SQLITE),
    Mutant(
        "a replay claims to be new",
        REFUSALS,
        "return Posted(applied=False, entry=first)",
        "return Posted(applied=True, entry=first)",
        ON_SQLITE,
    ),
    # --- durability, and the group ----------------------------------------------------------------------------------
    Mutant("commits are not synced", FILE, '"synchronous = FULL"', '"synchronous = NORMAL"', ON_POWER),
    Mutant(
        "answers come before the commit",
        WRITER,
        "            self._groups.put(group)\n",
        "            self._finish(group, None)\n            self._groups.put(group)\n",
        ON_FAULTS,
    ),
    Mutant(
        "a refused operation leaves its traces",
        WRITER,
        "        except Refused:\n            self._undo()\n",
        "        except Refused:\n",
        ON_SQLITE,
    ),
    Mutant(
        "a failed operation leaves its traces",
        WRITER,
        "_explained(error, waiting.transaction)\n            self._undo()\n",
        "_explained(error, waiting.transaction)\n",
        ON_SQLITE,
    ),
    Mutant(
        "a group that is written again keeps what it wrote before",
        WRITER,
        "                self._begin()\n        self._careful_groups -= 1",
        "        self._careful_groups -= 1",
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
    Mutant("nothing is ever rolled back", WRITER, "if self._connection.in_transaction:", "if False:", ON_FAULTS),
    Mutant("the queue has no end", WRITER, "if len(self._waiting) >= self._max_waiting:", "if False:", ON_SQLITE),
    Mutant(
        "a group has no end",
        WRITER,
        "size = min(len(self._waiting), self._max_group)",
        "size = len(self._waiting)",
        ON_FAULTS,
    ),
    # --- the file ---------------------------------------------------------------------------------------------------
    Mutant(
        "a second process may write", FILE, "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", ON_SQLITE
    ),
    Mutant("books that do not balance are opened", FILE, "if findings:", "if False:", ON_SQLITE),
    Mutant("a damaged file is opened", FILE, "if problems:", "if False:", ON_SQLITE),
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
        "CHECK (balance_atoms >= 0 OR account NOT GLOB '[UPR]*')",
        "CHECK (1)",
        ON_SQLITE,
    ),
    # --- what never reaches a store ---------------------------------------------------------------------------------
    Mutant("unbalanced legs are taken", CHECKS, "if total_atoms:", "if False:", ON_SQLITE),
    Mutant(
        "a debit needs no guard",
        CHECKS,
        "if bound is not Bounds.FREE and not _is_covered(leg, transaction.guards):",
        "if False:",
        ON_SQLITE,
    ),
    Mutant(
        "a guard of less covers a debit",
        CHECKS,
        "leg.amount_atoms < 0 and left_atoms >= 0",
        "leg.amount_atoms < 0",
        ON_SQLITE,
    ),
    Mutant("amounts have no bound", CHECKS, "not 0 < abs(amount) < MAX_ATOMS", "amount == 0", ON_FAULTS),
    Mutant(
        "escrow moves without a hold",
        CHECKS,
        'return "escrow moves without its hold" if escrow else None',
        "return None",
        ON_SQLITE,
    ),
    Mutant(
        "an account may have two legs",
        CHECKS,
        "if len({leg.account for leg in legs}) != len(legs):",
        "if False:",
        ON_SQLITE,
    ),
    Mutant(
        "more is settled than held", ORDERS, "if not 0 <= fee_atoms <= usage_atoms <= rest:", "if False:", ON_FAULTS
    ),
    # --- the guards, on the model, and why one refused --------------------------------------------------------------
    Mutant("the model: credits are not checked", REFUSALS, "if available_atoms < needed_atoms:", "if False:", ON_MODEL),
    Mutant("the model: a frozen account may hold", REFUSALS, "if not view.is_active(user):", "if False:", ON_MODEL),
    Mutant("the model: holds are not guarded", REFUSALS, "if not _meets(hold, guard):", "if False:", ON_MODEL),
    Mutant(
        "the model: the fence is not compared",
        REFUSALS,
        "(hold.remaining_atoms, hold.fence, hold.sequence) != (guard.remaining_atoms, guard.fence, guard.sequence)",
        "(hold.remaining_atoms, hold.sequence) != (guard.remaining_atoms, guard.sequence)",
        ON_MODEL,
    ),
    Mutant("the model: a key is written again", MEMORY, "if first:", "if False:", ON_MODEL),
    Mutant("the model: nothing is guarded", MEMORY, "refusals.require(transaction, self)", "pass", ON_MODEL),
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
    Mutant("sums of legs are not checked", AUDIT, "            if difference:\n", "            if False:\n", ON_AUDIT),
    Mutant("balances are not compared with legs", AUDIT, "if is_atoms == should_atoms:", "if True:", ON_AUDIT),
    Mutant("the trial balance is not drawn", AUDIT, "        if self._total_atoms:\n", "        if False:\n", ON_AUDIT),
    Mutant(
        "accounts that are gone are not missed",
        AUDIT,
        "for account, legs_atoms in self._sums.items():",
        "for account, legs_atoms in ():",
        ON_AUDIT,
    ),
    Mutant(
        "what is held is not compared with holds",
        AUDIT,
        "for account in sorted(self._held.keys() | open_atoms.keys()):",
        "for account in ():",
        ON_AUDIT,
    ),
    # --- the kit's invariants, each by a defect of its own ----------------------------------------------------------
    Mutant(
        "INV-01: an unbalanced transaction is written",
        CHECKS,
        "total_atoms += amount",
        "total_atoms += 0",
        conforming("01"),
    ),
    Mutant(
        "INV-02: an entry takes up the legs of later ones",
        READS,
        "(sequence + 1) * MAX_LEGS",
        "(sequence + 99) * MAX_LEGS",
        conforming("02"),
    ),
    Mutant(
        "INV-04, INV-05: a duplicate is told that it applied",
        REFUSALS,
        "Posted(applied=False,",
        "Posted(applied=1 > 0,",
        conforming("04"),
    ),
    Mutant(
        "INV-05: of concurrent duplicates none is answered by the first",
        POST,
        "    if not _insert_entry(cursor, entry):\n",
        "    if cursor.connection.total_changes < 0 or not _insert_entry(cursor, entry) and False:\n",
        conforming("05"),
    ),
    Mutant(
        "INV-06: an update of a hot account is lost",
        POST,
        "balance_atoms = balance_atoms + excluded.balance_atoms",
        "balance_atoms = excluded.balance_atoms",
        conforming("06"),
    ),
    Mutant(
        "INV-07: what is held is not taken from the user",
        POST,
        "changes[leg.account].available_atoms = leg.amount_atoms",
        "changes[leg.account].available_atoms = max(0, leg.amount_atoms)",
        conforming("07"),
    ),
    Mutant(
        "INV-08: the statement leaves out refunds",
        POST,
        "statement_of(leg.account, entry.kind))",
        "statement_of(leg.account, entry.kind) if place == 0 else None)",
        conforming("08"),
    ),
    Mutant(
        "INV-09: the drain is not guarded",
        POST,
        "changes[guard.account].least_atoms = guard.atoms",
        "changes[guard.account].least_atoms = 0",
        conforming("09"),
    ),
    Mutant(
        "INV-10: amounts pass through a double",
        READS,
        "return Balance(available, held, bool(active))",
        "return Balance(int(float(available)), held, bool(active))",
        conforming("10"),
    ),
    Mutant(
        "INV-11: an account may name a currency",
        LEDGER + "/accounts.py",
        "    return _ACCOUNT.fullmatch(account) is not None",
        "    return True",
        conforming("11"),
    ),
    Mutant(
        "INV-12: a void takes the place of its hold",
        ORDERS,
        'key=f"void:{order_id}"',
        'key=f"hold:{order_id}"',
        conforming("12"),
    ),
    Mutant(
        "INV-13: what is held is not kept",
        POST,
        "held_atoms = held_atoms + ?",
        "held_atoms = held_atoms + 0 * ?",
        conforming("13"),
    ),
    Mutant(
        "INV-14: a statement is not in the journal's order",
        STATEMENTS,
        "ORDER BY {}.number DESC",
        "ORDER BY leg.amount_atoms DESC",
        conforming("14"),
    ),
    Mutant(
        "a statement shows no leg before it has its line",
        STATEMENTS,
        "        yield query(_NEW, below, before, owner)\n",
        "",
        ON_SQLITE,
    ),
    Mutant(
        "a batch of lines forgets where it ended",
        STATEMENTS,
        '        cursor.execute("UPDATE lined SET below = ?", (until,))\n',
        "",
        ON_AUDIT,
    ),
    Mutant(
        "the audit misses a line that is lost",
        SQLITE_AUDIT,
        'proof.find(Check.TRANSACTIONS, f"the statement of {owner} lacks leg {number}")',
        "pass",
        ON_AUDIT,
    ),
    Mutant(
        "the audit misses a line before its time",
        SQLITE_AUDIT,
        "leg.statement = line.statement AND leg.number < lined.below",
        "leg.statement = line.statement",
        ON_AUDIT,
    ),
    Mutant(
        "damage is migrated",
        FILE,
        "        _require_sound(damage(connection), path)\n",
        "",
        Tests(("tests/ledger/test_migration.py",)),
    ),
    Mutant(
        "the audit believes which entry opened a hold",
        SQLITE_AUDIT,
        'proof.find(Check.HOLDS, f"H:{order_id}: entry {sequence} did not open this hold")',
        "pass",
        ON_AUDIT,
    ),
    Mutant(
        "a hold is opened under any key",
        CHECKS,
        "if key != hold_key(hold.order_id):",
        "if False:",
        ON_MODEL,
    ),
    Mutant(
        "the audit believes whose a leg is",
        SQLITE_AUDIT,
        "owner != statement_of(account, entry.kind)",
        "owner != owner",
        ON_AUDIT,
    ),
    Mutant(
        "INV-15, INV-16: a refused one keeps its key",
        WRITER,
        "except Refused:\n            self._undo()\n            waiting",
        "except Refused:\n            waiting",
        conforming("15"),
    ),
    # --- DynamoDB ---------------------------------------------------------------------------------------------------
    Mutant(
        "DynamoDB: the header has no condition",
        PLAN,
        '"Item": item, "ConditionExpression": _ABSENT}}',
        '"Item": item}}',
        on_dynamodb("64_posts"),
    ),
    Mutant(
        "DynamoDB: credits are not checked",
        CHANGES,
        "    if change.least > -_LIMIT:\n",
        "    if False:\n",
        on_dynamodb("40_holds or cannot_be_funded"),
    ),
    Mutant(
        "DynamoDB: a frozen account may hold",
        CHANGES,
        "    if change.must_be_active:\n",
        "    if False:\n",
        on_dynamodb("frozen"),
    ),
    Mutant(
        "DynamoDB: a closed hold is closed again",
        PLAN,
        '"#state = :open", "remaining = :remaining",',
        '"(#state = :open OR #state <> :open)", "(remaining = :remaining OR remaining <> :remaining)",',
        Tests(("tests/contracts/test_faults.py",), "dynamodb and fault_8"),
    ),
    Mutant(
        "DynamoDB: the fence is not compared",
        PLAN,
        '"fence = :fence",',
        '"(fence = :fence OR fence <> :fence)",',
        on_dynamodb("closed_only_as"),
    ),
    Mutant(
        "DynamoDB: a hold expires before its deadline",
        PLAN,
        '"expires_at_ms <= :by"',
        '"(expires_at_ms <= :by OR expires_at_ms > :by)"',
        on_dynamodb("expiry_is_refused"),
    ),
    Mutant(
        "DynamoDB: a hold of another user is closed",
        PLAN,
        '"#user = :user"',
        '"(#user = :user OR #user <> :user)"',
        on_dynamodb("another_user"),
    ),
    Mutant(
        "DynamoDB: a group's second guard ignores the first",
        CHANGES,
        "least=max(self.least, later.least - self.atoms)",
        "least=max(self.least, later.least)",
        on_dynamodb("40_holds"),
    ),
    Mutant(
        "DynamoDB: a guard decides over a known key",
        CLIENT,
        "    if refused & entries:\n",
        "    if False:\n",
        meeting_faults("known_key_decides"),
    ),
    Mutant(
        "DynamoDB: a guard is believed beside a conflict",
        CLIENT,
        "return frozenset() if _PASSING.intersection(reasons) else refused",
        "return refused",
        meeting_faults("beside_a_conflict"),
    ),
    Mutant(
        "DynamoDB: a conflict is no reason to repeat",
        CLIENT,
        '    "TransactionConflict",\n',
        "",
        meeting_faults("passing_reason"),
    ),
    Mutant(
        "DynamoDB: a lost reply counts as never sent",
        CLIENT,
        "attempts.may_be_written |= not isinstance(error, _NEVER_SENT)",
        "pass",
        meeting_faults("lost_for_good or unknown_stays"),
    ),
    Mutant(
        "DynamoDB: a repeat has a token of its own",
        CLIENT,
        '                await self._call("transact_write_items", arguments)',
        '                await self._call("transact_write_items", arguments | {"ClientRequestToken": _token()})',
        meeting_faults("lost_reply"),
    ),
    Mutant(
        "DynamoDB: a refusal is not looked at again",
        DYNAMODB_WRITER,
        "            if first:\n",
        "            if False:\n",
        meeting_faults("twin_that"),
    ),
    Mutant(
        "DynamoDB: one guilty transaction fails its group",
        DYNAMODB_WRITER,
        "            await self._commit(others)",
        '            for waiting in others:\n                _fail(waiting, InvariantBroken("of its group"))',
        meeting_faults("only_the_guilty"),
    ),
    Mutant(
        "DynamoDB: the queue has no end",
        DYNAMODB_WRITER,
        "if self._waiting >= self._max_waiting:",
        "if False:",
        meeting_faults("waiting_posts"),
    ),
    # --- spend limits -----------------------------------------------------------------------------------------------
    Mutant(
        "a counted hold is not guarded by what was read",
        SPENDING,
        "guards=(*opening.guards, guard)",
        "guards=opening.guards",
        ON_LIMITS,
    ),
    Mutant(
        "a hold may be beyond the limit",
        SPENDING,
        "if limit_atoms and total_atoms > limit_atoms:",
        "if False:",
        ON_LIMITS,
    ),
    Mutant(
        "what an order left is taken from another day",
        SPENDING,
        "if fields.get(period) == name:",
        "if True:",
        ON_LIMITS,
    ),
]
