-- What a person allowed in the browser, until the program on the same machine has come for it.
-- +goose Up

-- An authorization code (RFC 6749 §1.3.1) rests as its hash, and names the token that will be made of it, so that who
-- uses it a second time ends that token, made already or not.
CREATE TABLE authorization_codes (
    id             TEXT    NOT NULL PRIMARY KEY,
    code_hash      TEXT    NOT NULL,
    user_id        TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    redirect_uri   TEXT    NOT NULL,
    code_challenge TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    scopes         TEXT    NOT NULL,
    token_id       TEXT    NOT NULL,
    created_at     BIGINT  NOT NULL,
    expires_at     BIGINT  NOT NULL,
    uses           BIGINT  NOT NULL
);
CREATE UNIQUE INDEX authorization_codes_hash ON authorization_codes (code_hash);
CREATE INDEX authorization_codes_user ON authorization_codes (user_id, expires_at);
CREATE INDEX authorization_codes_expiry ON authorization_codes (expires_at);
