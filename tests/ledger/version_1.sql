-- A ledger of version 1, as sqlite3's dump gives it.
PRAGMA application_id = 0x474c4d4c;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE account (
    account       TEXT PRIMARY KEY,
    balance_atoms INTEGER NOT NULL CHECK (abs(balance_atoms) < 4611686018427387904),
    held_atoms    INTEGER NOT NULL DEFAULT 0 CHECK (held_atoms BETWEEN 0 AND 4611686018427387903),
    active        INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    CHECK (balance_atoms >= 0 OR account NOT GLOB 'U:*')
) STRICT, WITHOUT ROWID;
INSERT INTO "account" VALUES('PM:acme:20270115:1',57,0,1);
INSERT INTO "account" VALUES('R:fee:5',3,0,1);
INSERT INTO "account" VALUES('U:alice',840,100,1);
INSERT INTO "account" VALUES('X:promo',-1000,0,1);
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
INSERT INTO "entry" VALUES(1,'grant:g','grant','f443fa04a93091c7dadd59d3b4b97f67',1800000000000,'','','96d21c1517072e19afc4f2b84feb6bec');
INSERT INTO "entry" VALUES(2,'hold:order-1','hold','of-the-bid',1800000000000,'order-1','','efbf181c2e2284d61d1f68c9c924c086');
INSERT INTO "entry" VALUES(3,'hold:order-2','hold','of-the-bid',1800000000000,'order-2','','a5b3caf3d508d4de5cec25123591870b');
INSERT INTO "entry" VALUES(4,'settle:order-2','settle','f54a861f4c16bd7d75a54e7e55ddeb49',1800000000000,'order-2','','5c27049f42aee75cb503ba9dce184da1');
CREATE TABLE hold (
    order_id        TEXT NOT NULL UNIQUE,
    user            TEXT NOT NULL,
    provider        TEXT NOT NULL,
    amount_atoms    INTEGER NOT NULL CHECK (amount_atoms > 0),
    remaining_atoms INTEGER NOT NULL CHECK (remaining_atoms BETWEEN 0 AND amount_atoms),
    opened_at_ms    INTEGER NOT NULL,
    expires_at_ms   INTEGER NOT NULL,
    fence           INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('OPEN', 'SETTLED', 'VOIDED', 'EXPIRED')),
    terms           TEXT NOT NULL,
    CHECK ((state = 'OPEN') = (remaining_atoms > 0))
) STRICT;
INSERT INTO "hold" VALUES('order-1','alice','acme',100,100,1800000000000,1800000060000,0,'OPEN','{"price": 1}');
INSERT INTO "hold" VALUES('order-2','alice','acme',100,0,1800000000000,1800000060000,0,'SETTLED','{"price": 1}');
CREATE TABLE leg (
    number       INTEGER PRIMARY KEY,
    account      TEXT NOT NULL,
    amount_atoms INTEGER NOT NULL CHECK (amount_atoms <> 0 AND abs(amount_atoms) < 4611686018427387904),
    statement    TEXT
) STRICT;
INSERT INTO "leg" VALUES(64,'X:promo',-1000,NULL);
INSERT INTO "leg" VALUES(65,'U:alice',1000,'U:alice');
INSERT INTO "leg" VALUES(128,'U:alice',-100,'U:alice');
INSERT INTO "leg" VALUES(129,'H:order-1',100,NULL);
INSERT INTO "leg" VALUES(192,'U:alice',-100,'U:alice');
INSERT INTO "leg" VALUES(193,'H:order-2',100,NULL);
INSERT INTO "leg" VALUES(256,'H:order-2',-100,NULL);
INSERT INTO "leg" VALUES(257,'PM:acme:20270115:1',57,'P:acme');
INSERT INTO "leg" VALUES(258,'R:fee:5',3,NULL);
INSERT INTO "leg" VALUES(259,'U:alice',40,'U:alice');
CREATE INDEX leg_by_statement ON leg (statement) WHERE statement IS NOT NULL;
CREATE TRIGGER entry_is_final BEFORE UPDATE ON entry BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER entry_stays BEFORE DELETE ON entry BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER leg_is_final BEFORE UPDATE ON leg BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE TRIGGER leg_stays BEFORE DELETE ON leg BEGIN SELECT raise(ABORT, 'the journal is append only'); END;
CREATE INDEX open_hold_by_order ON hold (order_id) WHERE state = 'OPEN';
CREATE INDEX open_hold_by_deadline ON hold (expires_at_ms, order_id) WHERE state = 'OPEN';
CREATE TRIGGER hold_stays BEFORE DELETE ON hold BEGIN SELECT raise(ABORT, 'a hold is closed, never deleted'); END;
CREATE TRIGGER hold_closes_once BEFORE UPDATE ON hold WHEN old.state <> 'OPEN'
BEGIN SELECT raise(ABORT, 'a closed hold is final'); END;
COMMIT;
