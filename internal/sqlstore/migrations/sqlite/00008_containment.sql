-- Who people are at the provider, and what ends, warns and tells: revocations, events and their deliveries, habits.
-- +goose Up

ALTER TABLE oauth_apps ADD COLUMN identity_match TEXT NOT NULL DEFAULT 'warn';
ALTER TABLE grants ADD COLUMN identity TEXT NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN mismatch TEXT NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN refresh_end_known INTEGER NOT NULL DEFAULT 0;

-- One act that ended the grants of a person, of an app, or of everybody. What is left to do at the providers are jobs
-- with its id as their batch.
CREATE TABLE revocations (
    id         TEXT    NOT NULL PRIMARY KEY,
    realm      TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    app_id     TEXT    NOT NULL,
    app        TEXT    NOT NULL,
    everything INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    people     INTEGER NOT NULL,
    grants     INTEGER NOT NULL,
    queued     INTEGER NOT NULL
) STRICT;

CREATE TABLE events (
    id            TEXT    NOT NULL PRIMARY KEY,
    kind          TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    person        TEXT    NOT NULL,
    app           TEXT    NOT NULL,
    object        TEXT    NOT NULL,
    detail        TEXT    NOT NULL,
    dedupe        TEXT,
    dispatched_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_dedupe ON events (dedupe);
CREATE INDEX events_waiting ON events (dispatched_at, id);

CREATE TABLE deliveries (
    id       TEXT    NOT NULL PRIMARY KEY,
    event_id TEXT    NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    receiver TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    attempts INTEGER NOT NULL,
    status   INTEGER NOT NULL,
    code     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    tried_at INTEGER NOT NULL,
    next_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_receiver ON deliveries (receiver, state, id);

CREATE TABLE baselines (
    caller   TEXT    NOT NULL PRIMARY KEY,
    baseline TEXT    NOT NULL,
    seen_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX baselines_seen ON baselines (seen_at);
