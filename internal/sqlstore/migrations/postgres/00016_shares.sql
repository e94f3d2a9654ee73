-- What replicas hold of the caps that they have in common, under a lease each. The name of a cap is a digest.
-- +goose Up

CREATE TABLE replicas (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    lease_until BIGINT NOT NULL, -- in the time of the database
    sharing     BIGINT NOT NULL  -- 0: it holds all of every cap
);

CREATE TABLE shares (
    cap     TEXT COLLATE "C" NOT NULL,
    replica TEXT COLLATE "C" NOT NULL REFERENCES replicas (id) ON DELETE CASCADE,
    size    BIGINT NOT NULL, -- of the cap, as this replica has it
    held    BIGINT NOT NULL,
    wants   BIGINT NOT NULL,
    turn_at BIGINT NOT NULL, -- when it last got something and had nothing
    PRIMARY KEY (cap, replica)
);
CREATE INDEX shares_replica ON shares (replica);
