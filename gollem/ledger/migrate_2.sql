-- From version 2 to 3: lines of statements apart from the legs, holds by the entry that opened them.
PRAGMA user_version = 3;

CREATE TABLE statement_line (
    statement TEXT NOT NULL,
    number    INTEGER NOT NULL,
    PRIMARY KEY (statement, number)
) STRICT, WITHOUT ROWID;
INSERT INTO statement_line
SELECT statement, number FROM leg NOT INDEXED WHERE statement IS NOT NULL ORDER BY statement, number;
DROP INDEX leg_by_statement;
CREATE TABLE lined (below INTEGER NOT NULL) STRICT;
INSERT INTO lined SELECT (coalesce(max(sequence), 0) + 1) * 64 FROM entry;
CREATE TRIGGER line_is_final BEFORE UPDATE ON statement_line
BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER line_stays BEFORE DELETE ON statement_line
BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER lined_grows BEFORE UPDATE ON lined WHEN new.below < old.below
BEGIN SELECT raise(ABORT, 'what has its lines keeps them'); END;
CREATE TRIGGER lined_stays BEFORE DELETE ON lined BEGIN SELECT raise(ABORT, 'what has its lines keeps them'); END;

CREATE TABLE hold_3 (
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
-- One without its entry is damage, which no migration may carry on.
CREATE TABLE lost (order_id TEXT, CONSTRAINT "a hold has its entry" CHECK (order_id IS NULL)) STRICT;
INSERT INTO lost SELECT order_id FROM hold WHERE 'hold:' || order_id NOT IN (SELECT key FROM entry);
DROP TABLE lost;
INSERT INTO hold_3
SELECT (SELECT entry.sequence FROM entry WHERE entry.key = 'hold:' || hold.order_id), order_id, user,
       provider, amount_atoms, remaining_atoms, opened_at_ms, expires_at_ms, fence, state, terms, settled_atoms, sequence
FROM hold;
DROP TABLE hold;
ALTER TABLE hold_3 RENAME TO hold;
CREATE UNIQUE INDEX open_hold_by_order ON hold (order_id) WHERE state = 'OPEN';
CREATE INDEX open_hold_by_deadline ON hold (expires_at_ms, order_id) WHERE state = 'OPEN';
CREATE TRIGGER hold_stays BEFORE DELETE ON hold BEGIN SELECT raise(ABORT, 'a hold is closed, never deleted'); END;
CREATE TRIGGER hold_closes_once BEFORE UPDATE ON hold WHEN old.state <> 'OPEN'
BEGIN SELECT raise(ABORT, 'a closed hold is final'); END;
