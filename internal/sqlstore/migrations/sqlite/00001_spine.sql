-- Times are unix milliseconds in UTC, 0 is none; lists and maps are JSON; sealed columns hold ciphertext or NULL.
-- Every migration here has a twin of the same number in ../postgres, and a test compares what they make.
-- +goose Up

CREATE TABLE domains (
    id         TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    rev        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX domains_name ON domains (name);
INSERT INTO domains (id, name, created_at, rev) VALUES ('dom_00000000000000000000000000', 'default', 0, 1);

CREATE TABLE users (
    id         TEXT    NOT NULL PRIMARY KEY,
    username   TEXT    NOT NULL,
    email      TEXT    NOT NULL,
    roles      TEXT    NOT NULL,
    password   TEXT    NOT NULL,
    disabled   INTEGER NOT NULL,
    origin     TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    rev        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_username ON users (username);

-- What people sign in with, folded to lower case. Usernames and e-mail addresses share one namespace, so that nobody's
-- username can be somebody else's address.
CREATE TABLE user_logins (
    login   TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX user_logins_user ON user_logins (user_id);

CREATE TABLE sessions (
    id               TEXT    NOT NULL PRIMARY KEY,
    user_id          TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash       TEXT    NOT NULL,
    method           TEXT    NOT NULL,
    authenticated_at INTEGER NOT NULL,
    last_seen_at     INTEGER NOT NULL,
    ip               TEXT    NOT NULL,
    user_agent       TEXT    NOT NULL,
    revoked_at       INTEGER NOT NULL,
    revoke_reason    TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX sessions_token ON sessions (token_hash);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_age ON sessions (authenticated_at);

CREATE TABLE oauth_apps (
    id              TEXT    NOT NULL PRIMARY KEY,
    domain          TEXT    NOT NULL REFERENCES domains (id),
    name            TEXT    NOT NULL,
    slug            TEXT    NOT NULL,
    preset          TEXT    NOT NULL,
    host            TEXT    NOT NULL,
    issuer          TEXT    NOT NULL,
    auth_url        TEXT    NOT NULL,
    token_url       TEXT    NOT NULL,
    revocation_url  TEXT    NOT NULL,
    userinfo_url    TEXT    NOT NULL,
    jwks_url        TEXT    NOT NULL,
    iss_in_response INTEGER NOT NULL,
    client_id       TEXT    NOT NULL,
    client_secret   BLOB, -- sealed
    auth_method     TEXT    NOT NULL,
    scopes          TEXT    NOT NULL,
    auth_params     TEXT    NOT NULL,
    data_sources    TEXT    NOT NULL,
    paused          INTEGER NOT NULL,
    paused_note     TEXT    NOT NULL,
    broken_at       INTEGER NOT NULL,
    broken_code     TEXT    NOT NULL,
    origin          TEXT    NOT NULL,
    secret_set_at   INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    rev             INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX oauth_apps_slug ON oauth_apps (slug);
CREATE INDEX oauth_apps_domain ON oauth_apps (domain);

CREATE TABLE grants (
    id                 TEXT    NOT NULL PRIMARY KEY,
    realm              TEXT    NOT NULL,
    subject            TEXT    NOT NULL,
    app_id             TEXT    NOT NULL REFERENCES oauth_apps (id),
    domain             TEXT    NOT NULL REFERENCES domains (id),
    epoch              INTEGER NOT NULL,
    revision           INTEGER NOT NULL,
    rev                INTEGER NOT NULL,
    access_token       BLOB, -- sealed
    refresh_token      BLOB, -- sealed
    token_type         TEXT    NOT NULL,
    scopes             TEXT    NOT NULL,
    requested          TEXT    NOT NULL,
    provider_subject   TEXT    NOT NULL,
    account            TEXT    NOT NULL,
    connected_at       INTEGER NOT NULL,
    refreshed_at       INTEGER NOT NULL,
    expires_at         INTEGER NOT NULL,
    refresh_expires_at INTEGER NOT NULL,
    used_at            INTEGER NOT NULL,
    refused_at         INTEGER NOT NULL,
    failure_code       TEXT    NOT NULL,
    failed_at          INTEGER NOT NULL,
    failures           INTEGER NOT NULL,
    next_try_at        INTEGER NOT NULL,
    intent_at          INTEGER NOT NULL,
    intent_until       INTEGER NOT NULL,
    intent_by          TEXT    NOT NULL,
    fence              INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX grants_key ON grants (realm, subject, app_id);
CREATE INDEX grants_app ON grants (app_id, id);

-- The last epoch of every key that ever had a grant. It outlives the grant, so that epochs of a key never repeat,
-- whatever the clock does.
CREATE TABLE grant_epochs (
    realm   TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    app_id  TEXT    NOT NULL REFERENCES oauth_apps (id) ON DELETE CASCADE,
    epoch   INTEGER NOT NULL,
    PRIMARY KEY (realm, subject, app_id)
) STRICT;
CREATE INDEX grant_epochs_app ON grant_epochs (app_id);

CREATE TABLE authorizations (
    id         TEXT    NOT NULL PRIMARY KEY,
    realm      TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    app_id     TEXT    NOT NULL REFERENCES oauth_apps (id) ON DELETE CASCADE,
    return_to  TEXT    NOT NULL,
    browser    TEXT    NOT NULL,
    state_hash TEXT,
    verifier   BLOB, -- sealed
    nonce      BLOB, -- sealed
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    taken_at   INTEGER NOT NULL,
    done_at    INTEGER NOT NULL,
    outcome    TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX authorizations_state ON authorizations (state_hash);
CREATE INDEX authorizations_app ON authorizations (app_id);
CREATE INDEX authorizations_expiry ON authorizations (expires_at);

-- The data keys, wrapped by the master key that is not in the database.
CREATE TABLE data_keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    keyset     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    rev        INTEGER NOT NULL
) STRICT;

CREATE TABLE audit (
    seq     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id      TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    outcome TEXT    NOT NULL,
    detail  TEXT    NOT NULL,
    request TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX audit_id ON audit (id);
CREATE INDEX audit_at ON audit (at);

-- +goose StatementBegin
CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit is append-only');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_delete BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit is append-only');
END;
-- +goose StatementEnd
