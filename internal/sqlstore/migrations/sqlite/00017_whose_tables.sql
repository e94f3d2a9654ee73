-- Whose the tables of rollups in sources are: a hash, the same at every source. Empty for a service account, and for those of before.
-- +goose Up

ALTER TABLE source_tables ADD COLUMN person TEXT NOT NULL DEFAULT '';
CREATE INDEX source_tables_person ON source_tables (person);
