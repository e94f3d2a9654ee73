-- A token that another token made ends with it.
-- +goose Up

ALTER TABLE tokens ADD COLUMN parent_id TEXT REFERENCES tokens (id) ON DELETE CASCADE; -- NULL when a person made it in a browser
CREATE INDEX tokens_parent ON tokens (parent_id);
