-- Every record of the audit has its place in the hash chain of the process that wrote it (internal/audit). Records from
-- before are a chain of their own, without hashes, which the first checkpoint covers.
-- +goose Up

-- The ends of the chains. carried is how far the checkpoints of other chains are known to reach: a hint that keeps
-- checkpoints short, and that nothing is believed for.
CREATE TABLE audit_heads (
    writer   TEXT    NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL,
    hash     BLOB    NOT NULL,
    carried  INTEGER NOT NULL
) STRICT;

ALTER TABLE audit RENAME TO audit_before;
DROP TRIGGER audit_update;
DROP TRIGGER audit_delete;
DROP INDEX audit_id;
DROP INDEX audit_at;
CREATE TABLE audit (
    seq      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id       TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    actor    TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    object   TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,
    detail   TEXT    NOT NULL,
    request  TEXT    NOT NULL,
    writer   TEXT    NOT NULL,
    position INTEGER NOT NULL,
    prev     BLOB    NOT NULL,
    hash     BLOB    NOT NULL
) STRICT;
INSERT INTO audit (seq, id, at, actor, action, object, outcome, detail, request, writer, position, prev, hash)
    SELECT seq, id, at, actor, action, object, outcome, detail, request, 'before', row_number() OVER (ORDER BY seq), x'', x''
    FROM audit_before ORDER BY seq;
INSERT INTO audit_heads (writer, position, hash, carried)
    SELECT 'before', count(*), x'', 0 FROM audit HAVING count(*) > 0;
DROP TABLE audit_before;
CREATE UNIQUE INDEX audit_id ON audit (id);
CREATE UNIQUE INDEX audit_place ON audit (writer, position);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_actor ON audit (actor, seq);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_object ON audit (object, seq);

-- +goose StatementBegin
CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_delete BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit is append-only');
END;
-- +goose StatementEnd
