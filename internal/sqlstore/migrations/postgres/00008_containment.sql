-- Who people are at the provider, and what ends, warns and tells: revocations, events and their deliveries, habits.
-- +goose Up

ALTER TABLE oauth_apps ADD COLUMN identity_match TEXT NOT NULL DEFAULT 'warn';
ALTER TABLE grants ADD COLUMN identity TEXT NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN mismatch TEXT NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN refresh_end_known BIGINT NOT NULL DEFAULT 0;

-- One act that ended the grants of a person, of an app, or of everybody. What is left to do at the providers are jobs
-- with its id as their batch.
CREATE TABLE revocations (
    id         TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    realm      TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    app_id     TEXT    NOT NULL,
    app        TEXT    NOT NULL,
    everything BOOLEAN NOT NULL,
    reason     TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    created_at BIGINT NOT NULL,
    people     BIGINT NOT NULL,
    grants     BIGINT NOT NULL,
    queued     BIGINT NOT NULL
);

CREATE TABLE events (
    id            TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    kind          TEXT    NOT NULL,
    at            BIGINT NOT NULL,
    person        TEXT    NOT NULL,
    app           TEXT    NOT NULL,
    object        TEXT    NOT NULL,
    detail        TEXT    NOT NULL,
    dedupe        TEXT,
    dispatched_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX events_dedupe ON events (dedupe);
CREATE INDEX events_waiting ON events (dispatched_at, id);

CREATE TABLE deliveries (
    id       TEXT    COLLATE "C" NOT NULL PRIMARY KEY,
    event_id TEXT    NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    receiver TEXT    NOT NULL,
    state    TEXT    NOT NULL,
    attempts BIGINT NOT NULL,
    status   BIGINT NOT NULL,
    code     TEXT    NOT NULL,
    at       BIGINT NOT NULL,
    tried_at BIGINT NOT NULL,
    next_at  BIGINT NOT NULL
);
CREATE INDEX deliveries_event ON deliveries (event_id);
CREATE INDEX deliveries_receiver ON deliveries (receiver, state, id);

CREATE TABLE baselines (
    caller   TEXT    NOT NULL PRIMARY KEY,
    baseline TEXT    NOT NULL,
    seen_at  BIGINT NOT NULL
);
CREATE INDEX baselines_seen ON baselines (seen_at);
