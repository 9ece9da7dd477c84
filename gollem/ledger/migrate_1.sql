-- From version 1 to 2: records, partial settlements, bounds of all accounts, earnings by day.
PRAGMA user_version = 2;

CREATE TABLE account_2 (
    account       TEXT PRIMARY KEY,
    balance_atoms INTEGER NOT NULL CHECK (abs(balance_atoms) < 4611686018427387904),
    held_atoms    INTEGER NOT NULL DEFAULT 0 CHECK (held_atoms BETWEEN 0 AND 4611686018427387903),
    active        INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    CHECK (balance_atoms >= 0 OR account NOT GLOB '[UPR]*'),
    CHECK (balance_atoms <= 0 OR account NOT GLOB 'D*')
) STRICT, WITHOUT ROWID;
INSERT INTO account_2 SELECT account, balance_atoms, held_atoms, active FROM account;
DROP TABLE account;
ALTER TABLE account_2 RENAME TO account;
CREATE INDEX earnings_by_day ON account (substr(account, -10, 8), account)
WHERE account GLOB 'PM:*' AND balance_atoms <> 0;

ALTER TABLE hold ADD COLUMN
    settled_atoms INTEGER NOT NULL DEFAULT 0 CHECK (remaining_atoms IN (0, amount_atoms - settled_atoms));
ALTER TABLE hold ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;

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
