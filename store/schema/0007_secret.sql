CREATE TABLE secret (name TEXT PRIMARY KEY, sealed BYTEA NOT NULL) /* small */;
