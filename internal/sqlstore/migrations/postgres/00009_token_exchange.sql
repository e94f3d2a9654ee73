-- Connections that begin by token exchange (RFC 8693): whose tokens may be exchanged for one, as JSON, and which
-- connections began so. And whether people's access tokens of an app leave this server.
-- +goose Up

ALTER TABLE oauth_apps ADD COLUMN subject_issuers TEXT NOT NULL DEFAULT '[]';
ALTER TABLE oauth_apps ADD COLUMN hand_out TEXT NOT NULL DEFAULT 'allow';
ALTER TABLE grants ADD COLUMN exchanged BOOLEAN NOT NULL DEFAULT false;
