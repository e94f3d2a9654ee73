-- What replicas hold of the caps that they have in common, under a lease each. The name of a cap is a digest.
-- +goose Up

CREATE TABLE replicas (
    id          TEXT NOT NULL PRIMARY KEY,
    lease_until INTEGER NOT NULL, -- in the time of the database
    sharing     INTEGER NOT NULL  -- 0: it holds all of every cap
);

CREATE TABLE shares (
    cap     TEXT NOT NULL,
    replica TEXT NOT NULL REFERENCES replicas (id) ON DELETE CASCADE,
    size    INTEGER NOT NULL, -- of the cap, as this replica has it
    held    INTEGER NOT NULL,
    wants   INTEGER NOT NULL,
    turn_at INTEGER NOT NULL, -- when it last got something and had nothing
    PRIMARY KEY (cap, replica)
);
CREATE INDEX shares_replica ON shares (replica);
