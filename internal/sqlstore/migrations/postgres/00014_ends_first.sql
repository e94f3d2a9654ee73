-- What is due is refreshed in the order in which it ends. The index holds all that this takes.
-- +goose Up

DROP INDEX grants_due;
CREATE INDEX grants_due ON grants (app_id, due_at, expires_at, refresh_expires_at, refreshed_at, used_at, id) WHERE due_at > 0;
