-- Rollups that are kept in their source: which tables they have there.
-- +goose Up

-- Holder, scope and structure are hashes: of whose tables they are, of their credential, and of what their rows depend on.
CREATE TABLE source_tables (
    name        TEXT    NOT NULL PRIMARY KEY, -- as the source knows it, with its schema
    schema_name TEXT    NOT NULL,
    holder      TEXT    NOT NULL,
    scope       TEXT    NOT NULL,
    structure   TEXT    NOT NULL,
    span        TEXT    NOT NULL, -- the partition; empty for a table of all rows
    refresh_key TEXT    NOT NULL, -- what its refresh key was answered, as a hash
    row_count   INTEGER NOT NULL,
    byte_count  INTEGER NOT NULL,
    begun_at    INTEGER NOT NULL,
    begun_until INTEGER NOT NULL, -- when it is left over, unless it is built by then
    built_at    INTEGER NOT NULL, -- 0 until it is there
    replaced_at INTEGER NOT NULL, -- 0 while it is the one of its partition
    used_at     INTEGER NOT NULL,
    left_at     INTEGER NOT NULL, -- when somebody was told to drop it; 0 while it may be read
    again_at    INTEGER NOT NULL -- before then nobody else is told
) STRICT;
CREATE INDEX source_tables_holder ON source_tables (holder, scope, structure, span);
CREATE INDEX source_tables_used ON source_tables (used_at);
