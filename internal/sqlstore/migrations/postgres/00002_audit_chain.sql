-- Every record of the audit has its place in the hash chain of the process that wrote it (internal/audit). Records from
-- before are a chain of their own, without hashes, which the first checkpoint covers.
-- +goose Up

-- The ends of the chains. carried is how far the checkpoints of other chains are known to reach: a hint that keeps
-- checkpoints short, and that nothing is believed for.
CREATE TABLE audit_heads (
    writer   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    position BIGINT  NOT NULL,
    hash     BYTEA   NOT NULL,
    carried  BIGINT  NOT NULL
) WITH (fillfactor = 50); -- each commit updates a row of it

DROP TRIGGER audit_update ON audit;
ALTER TABLE audit
    ADD COLUMN writer   TEXT COLLATE "C" NOT NULL DEFAULT 'before',
    ADD COLUMN position BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN prev     BYTEA  NOT NULL DEFAULT '',
    ADD COLUMN hash     BYTEA  NOT NULL DEFAULT '';
UPDATE audit SET position = n FROM (SELECT seq AS at_seq, row_number() OVER (ORDER BY seq) AS n FROM audit) numbered WHERE seq = at_seq;
ALTER TABLE audit
    ALTER COLUMN writer   DROP DEFAULT,
    ALTER COLUMN position DROP DEFAULT,
    ALTER COLUMN prev     DROP DEFAULT,
    ALTER COLUMN hash     DROP DEFAULT;
INSERT INTO audit_heads (writer, position, hash, carried)
    SELECT 'before', count(*), '', 0 FROM audit HAVING count(*) > 0;
CREATE UNIQUE INDEX audit_place ON audit (writer, position);
CREATE INDEX audit_actor ON audit (actor, seq);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_object ON audit (object, seq);
CREATE TRIGGER audit_update BEFORE UPDATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();
