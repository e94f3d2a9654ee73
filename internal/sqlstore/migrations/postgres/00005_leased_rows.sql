-- Work that is done although nobody waits for it: leased rows. What is due and free is claimed by one process, which
-- renews its lease while it works; the fence tells a holder that came too late from the one of now.
-- +goose Up

CREATE TABLE jobs (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind        TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    lane        TEXT    NOT NULL,
    batch       TEXT    NOT NULL,
    payload     TEXT    NOT NULL,
    secret      BYTEA, -- sealed
    created_at  BIGINT  NOT NULL,
    due_at      BIGINT  NOT NULL,
    attempts    BIGINT  NOT NULL,
    code        TEXT    NOT NULL,
    failed_at   BIGINT  NOT NULL,
    lease_until BIGINT  NOT NULL,
    lease_by    TEXT    NOT NULL,
    fence       BIGINT  NOT NULL
);
CREATE UNIQUE INDEX jobs_key ON jobs (kind, key);
CREATE INDEX jobs_due ON jobs (kind, failed_at, due_at);
CREATE INDEX jobs_lane ON jobs (kind, lane, lease_until);
CREATE INDEX jobs_batch ON jobs (kind, batch);

-- When a grant is to be refreshed ahead of time, 0 for never; and the refresh token that a second, late answer of the
-- authorization server brought.
ALTER TABLE grants ADD COLUMN due_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE grants ADD COLUMN spare_refresh_token BYTEA; -- sealed
CREATE INDEX grants_due ON grants (app_id, due_at) WHERE due_at > 0;
