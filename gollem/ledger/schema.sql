-- The SQLite ledger. Amounts are atoms. Journal: entry, leg (append only). Balances: account, hold (one row per escrow).
-- record: what has a state. A file of an older version becomes this one by the migrate_*.sql beside it.
PRAGMA application_id = 0x474c4d4c;
PRAGMA user_version = 3;

CREATE TABLE entry (
    sequence    INTEGER PRIMARY KEY,
    key         TEXT NOT NULL UNIQUE CHECK (length(key) BETWEEN 1 AND 256),
    kind        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    at_ms       INTEGER NOT NULL CHECK (at_ms >= 0),
    order_id    TEXT NOT NULL,
    detail      TEXT NOT NULL,
    seal        TEXT NOT NULL
) STRICT;

-- number = the entry's sequence * 64 + the leg's place: an entry's legs are one range, and numbers are the cursors of
-- statements. statement: whose statement shows the leg, if anyone's.
CREATE TABLE leg (
    number       INTEGER PRIMARY KEY,
    account      TEXT NOT NULL,
    amount_atoms INTEGER NOT NULL CHECK (amount_atoms <> 0 AND abs(amount_atoms) < 4611686018427387904),
    statement    TEXT
) STRICT;

-- Legs by statement, for all legs below `lined.below`; those after it wait to be lined together (sqlite_statements.py).
CREATE TABLE statement_line (
    statement TEXT NOT NULL,
    number    INTEGER NOT NULL,
    PRIMARY KEY (statement, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE lined (below INTEGER NOT NULL) STRICT;
INSERT INTO lined VALUES (0);

CREATE TRIGGER entry_is_final BEFORE UPDATE ON entry BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER entry_stays BEFORE DELETE ON entry BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER leg_is_final BEFORE UPDATE ON leg BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER leg_stays BEFORE DELETE ON leg BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER line_is_final BEFORE UPDATE ON statement_line
BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER line_stays BEFORE DELETE ON statement_line
BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER lined_grows BEFORE UPDATE ON lined WHEN new.below < old.below
BEGIN SELECT raise(ABORT, 'what has its lines keeps them'); END;
CREATE TRIGGER lined_stays BEFORE DELETE ON lined BEGIN SELECT raise(ABORT, 'what has its lines keeps them'); END;

-- Every account but the escrows, which are the holds themselves. Bounds: accounts.py.
CREATE TABLE account (
    account       TEXT PRIMARY KEY,
    balance_atoms INTEGER NOT NULL CHECK (abs(balance_atoms) < 4611686018427387904),
    held_atoms    INTEGER NOT NULL DEFAULT 0 CHECK (held_atoms BETWEEN 0 AND 4611686018427387903),
    active        INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    CHECK (balance_atoms >= 0 OR account NOT GLOB '[UPR]*'),
    CHECK (balance_atoms <= 0 OR account NOT GLOB 'D*')
) STRICT, WITHOUT ROWID;
-- PM:{provider}:{yyyymmdd}:{shard}: what has not matured, by day.
CREATE INDEX earnings_by_day ON account (substr(account, -10, 8), account)
WHERE account GLOB 'PM:*' AND balance_atoms <> 0;

-- entry: the sequence of the one that opened it, whose key names the order and is unique: no index here says it again.
CREATE TABLE hold (
    entry           INTEGER PRIMARY KEY,
    order_id        TEXT NOT NULL,
    user            TEXT NOT NULL,
    provider        TEXT NOT NULL,
    amount_atoms    INTEGER NOT NULL CHECK (amount_atoms > 0),
    remaining_atoms INTEGER NOT NULL CHECK (remaining_atoms BETWEEN 0 AND amount_atoms),
    opened_at_ms    INTEGER NOT NULL,
    expires_at_ms   INTEGER NOT NULL,
    fence           INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('OPEN', 'SETTLED', 'VOIDED', 'EXPIRED')),
    terms           TEXT NOT NULL,
    settled_atoms   INTEGER NOT NULL DEFAULT 0 CHECK (remaining_atoms IN (0, amount_atoms - settled_atoms)),
    sequence        INTEGER NOT NULL DEFAULT 0,
    CHECK ((state = 'OPEN') = (remaining_atoms > 0))
) STRICT;
CREATE UNIQUE INDEX open_hold_by_order ON hold (order_id) WHERE state = 'OPEN';
CREATE INDEX open_hold_by_deadline ON hold (expires_at_ms, order_id) WHERE state = 'OPEN';
CREATE TRIGGER hold_stays BEFORE DELETE ON hold BEGIN SELECT raise(ABORT, 'a hold is closed, never deleted'); END;
CREATE TRIGGER hold_closes_once BEFORE UPDATE ON hold WHEN old.state <> 'OPEN'
BEGIN SELECT raise(ABORT, 'a closed hold is final'); END;

-- fields: a flat JSON object. is_listed: whether its state waits for something.
CREATE TABLE record (
    kind      TEXT NOT NULL,
    id        TEXT NOT NULL,
    state     TEXT NOT NULL,
    fields    TEXT NOT NULL,
    is_listed INTEGER NOT NULL CHECK (is_listed IN (0, 1)),
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX record_by_state ON record (kind, state, id) WHERE is_listed = 1;
CREATE TRIGGER record_stays BEFORE DELETE ON record BEGIN SELECT raise(ABORT, 'a record is never deleted'); END;
