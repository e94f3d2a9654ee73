-- How an app authenticates (RFC 7523), a second client secret for the time of a rollover, and what its authorization
-- server offers: pushed requests (RFC 9126), introspection (RFC 7662), resources (RFC 8707), proofs of possession
-- (RFC 9449), token exchange (RFC 8693).
-- +goose Up

ALTER TABLE oauth_apps ADD COLUMN client_secret_next BYTEA; -- sealed
ALTER TABLE oauth_apps ADD COLUMN next_set_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE oauth_apps ADD COLUMN next_in_use BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE oauth_apps ADD COLUMN private_key BYTEA; -- sealed
ALTER TABLE oauth_apps ADD COLUMN private_key_set_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE oauth_apps ADD COLUMN assertion_audience TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_apps ADD COLUMN par_url TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_apps ADD COLUMN par_required BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE oauth_apps ADD COLUMN introspection_url TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_apps ADD COLUMN resources TEXT NOT NULL DEFAULT '[]';
ALTER TABLE oauth_apps ADD COLUMN dpop TEXT NOT NULL DEFAULT '';
ALTER TABLE oauth_apps ADD COLUMN dpop_offered BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE oauth_apps ADD COLUMN exchange_audiences TEXT NOT NULL DEFAULT '[]';

-- The private key of a connection whose tokens are bound to it.
ALTER TABLE grants ADD COLUMN dpop_key BYTEA; -- sealed
ALTER TABLE authorizations ADD COLUMN dpop_key BYTEA; -- sealed
