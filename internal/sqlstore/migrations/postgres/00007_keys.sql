-- +goose Up

-- Which master wrapped the data keys, to people who look for a lost one. Empty before this migration.
ALTER TABLE data_keys ADD COLUMN wrapped_by TEXT NOT NULL DEFAULT '';

-- Replacements of the data keys by a new one. held_by works on it until held_until.
CREATE TABLE key_rotations (
    id          TEXT    NOT NULL PRIMARY KEY,
    new_key     BIGINT NOT NULL,
    state       TEXT    NOT NULL,
    keys_rev    BIGINT NOT NULL, -- of data_keys, which every replica must hold before the next step
    resealed    BIGINT NOT NULL,
    total       BIGINT NOT NULL,
    failure     TEXT    NOT NULL,
    started_by  TEXT    NOT NULL,
    started_at  BIGINT NOT NULL,
    resealed_at BIGINT NOT NULL,
    done_at     BIGINT NOT NULL,
    held_by     TEXT    NOT NULL,
    held_until  BIGINT NOT NULL
);
CREATE UNIQUE INDEX key_rotations_running ON key_rotations (done_at) WHERE done_at = 0;

-- The processes that use the store, and which revision of data_keys each of them holds; 0 while it has values of older
-- ones outside of the store. Who ends in order takes its row along.
CREATE TABLE key_holders (
    process  TEXT    NOT NULL PRIMARY KEY,
    host     TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    keys_rev BIGINT NOT NULL,
    seen_at  BIGINT NOT NULL
);
