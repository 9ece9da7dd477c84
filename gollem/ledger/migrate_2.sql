-- From version 2 to 3: lines of statements apart from the legs.
PRAGMA user_version = 3;

CREATE TABLE statement_line (
    statement TEXT NOT NULL,
    number    INTEGER NOT NULL,
    PRIMARY KEY (statement, number)
) STRICT, WITHOUT ROWID;
INSERT INTO statement_line SELECT statement, number FROM leg WHERE statement IS NOT NULL ORDER BY statement, number;
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
