-- Tokens of ours that programs carry, and how a program on another machine gets one.
-- +goose Up

-- A token rests as the hash of its value: 160 random bits need neither salt nor a slow hash.
CREATE TABLE tokens (
    id            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name          TEXT    NOT NULL,
    token_hash    TEXT    NOT NULL,
    scopes        TEXT    NOT NULL,
    origin        TEXT    NOT NULL,
    created_at    BIGINT  NOT NULL,
    expires_at    BIGINT  NOT NULL,
    used_at       BIGINT  NOT NULL,
    revoked_at    BIGINT  NOT NULL,
    revoke_reason TEXT    NOT NULL
);
CREATE UNIQUE INDEX tokens_hash ON tokens (token_hash);
CREATE INDEX tokens_user ON tokens (user_id, id);

-- A program that asks to sign in (RFC 8628): both of its codes rest as hashes.
CREATE TABLE device_authorizations (
    id               TEXT    NOT NULL PRIMARY KEY,
    device_hash      TEXT    NOT NULL,
    user_code_hash   TEXT    NOT NULL,
    name             TEXT    NOT NULL,
    scopes           TEXT    NOT NULL,
    ip               TEXT    NOT NULL,
    created_at       BIGINT  NOT NULL,
    expires_at       BIGINT  NOT NULL,
    interval_seconds BIGINT  NOT NULL,
    polled_at        BIGINT  NOT NULL,
    user_id          TEXT REFERENCES users (id) ON DELETE CASCADE, -- who decided
    decided_at       BIGINT  NOT NULL,
    allowed          BOOLEAN NOT NULL,
    taken_at         BIGINT  NOT NULL
);
CREATE UNIQUE INDEX device_authorizations_device ON device_authorizations (device_hash);
CREATE UNIQUE INDEX device_authorizations_code ON device_authorizations (user_code_hash);
CREATE INDEX device_authorizations_user ON device_authorizations (user_id);
CREATE INDEX device_authorizations_expiry ON device_authorizations (expires_at);
