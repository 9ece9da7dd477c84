-- The same two-phase transfer in PostgreSQL: journal rows, account rows, the key once for ever, each phase one procedure.
-- In its favour: no seal is computed, system accounts have no CHECK, and what many orders write to is locked last.
CREATE TABLE entry (
    sequence    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key         text NOT NULL UNIQUE,
    kind        text NOT NULL,
    fingerprint text NOT NULL,
    at_ms       bigint NOT NULL,
    order_id    text NOT NULL,
    detail      text NOT NULL,
    seal        text NOT NULL
);
CREATE TABLE leg (
    sequence     bigint NOT NULL,
    place        smallint NOT NULL,
    account      text NOT NULL,
    amount_atoms bigint NOT NULL CHECK (amount_atoms <> 0),
    statement    text,
    PRIMARY KEY (sequence, place)
);
CREATE INDEX leg_by_statement ON leg (statement, sequence) WHERE statement IS NOT NULL;
CREATE TABLE account (
    account       text PRIMARY KEY,
    balance_atoms bigint NOT NULL,
    held_atoms    bigint NOT NULL DEFAULT 0 CHECK (held_atoms >= 0),
    active        boolean NOT NULL DEFAULT true,
    CHECK (balance_atoms >= 0 OR account NOT LIKE 'U:%')
) WITH (fillfactor = 50);
CREATE TABLE hold (
    order_id        text PRIMARY KEY,
    username        text NOT NULL,
    provider        text NOT NULL,
    amount_atoms    bigint NOT NULL CHECK (amount_atoms > 0),
    remaining_atoms bigint NOT NULL CHECK (remaining_atoms BETWEEN 0 AND amount_atoms),
    opened_at_ms    bigint NOT NULL,
    expires_at_ms   bigint NOT NULL,
    fence           bigint NOT NULL,
    state           text NOT NULL,
    terms           text NOT NULL,
    CHECK ((state = 'OPEN') = (remaining_atoms > 0))
) WITH (fillfactor = 90);
CREATE INDEX open_hold_by_order ON hold (order_id) WHERE state = 'OPEN';
CREATE INDEX open_hold_by_deadline ON hold (expires_at_ms, order_id) WHERE state = 'OPEN';

-- Whether the key is new; raises if it stands for something else.
CREATE FUNCTION new_entry(entry_key text, entry_kind text, print text, now_ms bigint, order_of text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    number bigint;
    first text;
BEGIN
    INSERT INTO entry (key, kind, fingerprint, at_ms, order_id, detail, seal)
    VALUES (entry_key, entry_kind, print, now_ms, order_of, '', print)
    ON CONFLICT (key) DO NOTHING RETURNING sequence INTO number;
    IF number IS NULL THEN
        SELECT fingerprint INTO first FROM entry WHERE key = entry_key;
        IF first <> print THEN RAISE EXCEPTION 'key reused: %', entry_key; END IF;
    END IF;
    RETURN number;
END $$;

CREATE FUNCTION open_hold(
    order_of text, payer text, seller text, atoms bigint, now_ms bigint, deadline_ms bigint, terms_of text, print text
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    number bigint := new_entry('hold:' || order_of, 'hold', print, now_ms, order_of);
BEGIN
    IF number IS NULL THEN RETURN false; END IF;
    UPDATE account SET balance_atoms = balance_atoms - atoms, held_atoms = held_atoms + atoms
    WHERE account = 'U:' || payer AND balance_atoms >= atoms AND active;
    IF NOT FOUND THEN RAISE EXCEPTION 'insufficient credits'; END IF;
    INSERT INTO hold VALUES (order_of, payer, seller, atoms, atoms, now_ms, deadline_ms, 0, 'OPEN', terms_of);
    INSERT INTO leg VALUES
        (number, 0, 'U:' || payer, -atoms, 'U:' || payer),
        (number, 1, 'H:' || order_of, atoms, NULL);
    RETURN true;
END $$;

CREATE FUNCTION settle_hold(
    order_of text, payer text, seller text, atoms bigint, usage_atoms bigint, fee_atoms bigint, now_ms bigint,
    print text, shard integer
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    number bigint := new_entry('settle:' || order_of, 'settle', print, now_ms, order_of);
    earnings text := 'PM:' || seller || ':20270115:' || shard % 4;
    fees text := 'R:fee:' || shard % 16;
BEGIN
    IF number IS NULL THEN RETURN false; END IF;
    UPDATE hold SET state = 'SETTLED', remaining_atoms = 0
    WHERE order_id = order_of AND state = 'OPEN' AND remaining_atoms = atoms AND fence = 0 AND username = payer;
    IF NOT FOUND THEN RAISE EXCEPTION 'the hold is closed'; END IF;
    INSERT INTO leg VALUES
        (number, 0, 'H:' || order_of, -atoms, NULL),
        (number, 1, earnings, usage_atoms - fee_atoms, 'P:' || seller),
        (number, 2, fees, fee_atoms, NULL),
        (number, 3, 'U:' || payer, atoms - usage_atoms, 'U:' || payer);
    UPDATE account SET balance_atoms = balance_atoms + atoms - usage_atoms, held_atoms = held_atoms - atoms
    WHERE account = 'U:' || payer;
    UPDATE account SET balance_atoms = balance_atoms + usage_atoms - fee_atoms WHERE account = earnings;
    UPDATE account SET balance_atoms = balance_atoms + fee_atoms WHERE account = fees;
    RETURN true;
END $$;
