-- Times are milliseconds since 1970 in UTC; the views at the end show them to people.

-- `handle` is what authenticators know a user by (WebAuthn): random, and nothing else. Numbers are never
-- used again: a gate that has yet to hear of a deletion must not take the next user for the one it knows.
CREATE TABLE user (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,
    role        TEXT    NOT NULL CHECK (role IN ('user', 'admin')),
    handle      BLOB    NOT NULL UNIQUE CHECK (length(handle) = 64),
    created_at  INTEGER NOT NULL,
    disabled_at INTEGER,
    -- argon2id, as a PHC string; only where auth.password asks for one.
    password    TEXT,
    -- When its owner last said that somebody else was in the account, and whether a code of an app is not
    -- enough since.
    reported_at   INTEGER,
    wants_passkey INTEGER NOT NULL DEFAULT 0 CHECK (wants_passkey IN (0, 1))
) STRICT;

-- Groups, by which policies name people. One exists while somebody is in it.
CREATE TABLE user_group (
    user_id INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    name    TEXT    NOT NULL,
    PRIMARY KEY (user_id, name)
) STRICT, WITHOUT ROWID;

-- Since when something is demanded of somebody that they did not have: from then on grace is counted.
CREATE TABLE demanded (
    user_id     INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    requirement TEXT    NOT NULL,
    since       INTEGER NOT NULL,
    PRIMARY KEY (user_id, requirement)
) STRICT, WITHOUT ROWID;

-- Authenticator apps. `sealed_secret` opens only with the master key.
CREATE TABLE authenticator (
    id            TEXT    NOT NULL PRIMARY KEY,
    user_id       INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    name          TEXT    NOT NULL,
    sealed_secret BLOB    NOT NULL,
    last_step     INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER
) STRICT;
CREATE INDEX authenticator_of_user ON authenticator (user_id);

-- Steps of an app whose codes were seen before their time, and are good for nothing.
CREATE TABLE void_step (
    authenticator TEXT    NOT NULL REFERENCES authenticator (id) ON DELETE CASCADE,
    step          INTEGER NOT NULL,
    until         INTEGER NOT NULL,
    PRIMARY KEY (authenticator, step)
) STRICT, WITHOUT ROWID;

-- Passkeys and security keys. `record` is JSON with the public key; the columns beside it are newer.
CREATE TABLE credential (
    id             TEXT    NOT NULL PRIMARY KEY,
    user_id        INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    kind           TEXT    NOT NULL,
    name           TEXT    NOT NULL,
    relying_party  TEXT    NOT NULL,
    credential_id  BLOB    NOT NULL UNIQUE CHECK (length(credential_id) <= 1023),
    record         TEXT    NOT NULL,
    counter        INTEGER NOT NULL,
    synced         INTEGER NOT NULL CHECK (synced IN (0, 1)),
    aaguid         BLOB    NOT NULL CHECK (length(aaguid) = 16),
    transports     TEXT    NOT NULL,
    created_at     INTEGER NOT NULL,
    last_used_at   INTEGER,
    last_used_from TEXT
) STRICT;
CREATE INDEX credential_of_user ON credential (user_id);

-- States of WebAuthn ceremonies that were used. They travel sealed in the answer to a stranger; what
-- is here is the SHA-256 of those that had an effect, for as long as they could be used again.
CREATE TABLE spent_ceremony (
    hash       BLOB    NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT;

-- Recovery codes, as keyed hashes. A set is made and replaced as a whole.
CREATE TABLE recovery_code (
    hash       BLOB    NOT NULL PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    used_at    INTEGER
) STRICT;
CREATE INDEX recovery_code_of_user ON recovery_code (user_id);

-- One-time links. The token itself is nowhere.
CREATE TABLE invitation (
    token_hash BLOB    NOT NULL PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    purpose    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at    INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX invitation_of_user ON invitation (user_id);

-- Sessions, ended ones too. `id` is the SHA-256 of what the cookie carries.
CREATE TABLE session (
    id             BLOB    NOT NULL PRIMARY KEY,
    user_id        INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    method         TEXT    NOT NULL,
    -- Whether a password went with it, and whether the key that was shown is on one device only.
    password       INTEGER NOT NULL CHECK (password IN (0, 1)),
    device_bound   INTEGER NOT NULL CHECK (device_bound IN (0, 1)),
    scope          TEXT    NOT NULL CHECK (scope IN ('full', 'enrol-only')),
    created_at     INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    last_active_at INTEGER NOT NULL,
    client         TEXT    NOT NULL,
    user_agent     TEXT    NOT NULL,
    ended_at       INTEGER,
    end_reason     TEXT,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
) STRICT;
CREATE INDEX session_of_user ON session (user_id);

-- What happened to an account, for its owner: ninety days of it, so many rows a user. Words only, nothing
-- that somebody typed. `network` is the address, or the /64 of an IPv6 address.
CREATE TABLE history (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id          INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    at               INTEGER NOT NULL,
    happened         TEXT    NOT NULL,
    succeeded        INTEGER NOT NULL CHECK (succeeded IN (0, 1)),
    client           TEXT,
    network          TEXT,
    method           TEXT,
    session          BLOB,
    reason           TEXT,
    from_new_address INTEGER NOT NULL CHECK (from_new_address IN (0, 1))
) STRICT;
CREATE INDEX history_of_user ON history (user_id, succeeded, id);

-- Keys that sign cookies, sealed under the master key.
CREATE TABLE cookie_key (
    id         TEXT    NOT NULL PRIMARY KEY,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Devices that signed in before. `id` is the SHA-256 of what the cookie carries.
CREATE TABLE device (
    user_id      INTEGER NOT NULL REFERENCES user (id) ON DELETE CASCADE,
    id           BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    in_a_row     INTEGER NOT NULL, -- wrong codes since its last success
    PRIMARY KEY (user_id, id)
) STRICT, WITHOUT ROWID;

-- What was guessed at one-time codes; see gate/lockout.rs. User 0 is nobody: attempts that count against
-- no account leave the same marks there. Hence no reference to `user`.
CREATE TABLE guess_total (
    user_id       INTEGER PRIMARY KEY,
    since_success INTEGER NOT NULL -- wrong codes of unknown devices
) STRICT;
CREATE TABLE guess_source (
    user_id  INTEGER NOT NULL,
    source   TEXT    NOT NULL, -- an IPv4 address or an IPv6 /64
    in_a_row INTEGER NOT NULL, -- wrong codes of unknown devices
    PRIMARY KEY (user_id, source)
) STRICT, WITHOUT ROWID;
CREATE TABLE guess_day (
    user_id INTEGER NOT NULL,
    known   INTEGER NOT NULL CHECK (known IN (0, 1)), -- whether of known devices
    day     INTEGER NOT NULL, -- since 1970, UTC
    guesses INTEGER NOT NULL CHECK (guesses > 0),
    PRIMARY KEY (user_id, known, day)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER user_deleted_guesses AFTER DELETE ON user BEGIN
    DELETE FROM guess_total WHERE user_id = OLD.id;
    DELETE FROM guess_source WHERE user_id = OLD.id;
    DELETE FROM guess_day WHERE user_id = OLD.id;
END;

-- Networks that may not connect, and bans that were over lately: the next one is longer for each.
CREATE TABLE ban (
    network    TEXT    NOT NULL PRIMARY KEY, -- 203.0.113.9/32 or 2001:db8:1:2::/64, without host bits
    reason     TEXT    NOT NULL,
    automatic  INTEGER NOT NULL CHECK (automatic IN (0, 1)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,                      -- NULL: somebody must lift it
    before     INTEGER NOT NULL CHECK (before >= 0)
) STRICT;
CREATE INDEX ban_by_end ON ban (automatic, expires_at);

-- What verbs ask of the gates that run, and what each of those answered. Whoever asked deletes it.
CREATE TABLE question (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    asked    TEXT    NOT NULL,
    asked_at INTEGER NOT NULL
) STRICT;
CREATE TABLE answer (
    question_id INTEGER NOT NULL REFERENCES question (id) ON DELETE CASCADE,
    gate        TEXT    NOT NULL, -- a name that a gate gives itself at its start
    answer      TEXT    NOT NULL,
    PRIMARY KEY (question_id, gate)
) STRICT, WITHOUT ROWID;

-- What running gates must hear of. Triggers write it, so that a change made by hand with the sqlite3
-- program is heard as well.
CREATE TABLE change (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,
    subject ANY  NOT NULL
) STRICT;

CREATE TRIGGER session_added AFTER INSERT ON session BEGIN
    INSERT INTO change (kind, subject) VALUES ('session', NEW.id);
END;
CREATE TRIGGER session_ended AFTER UPDATE OF ended_at ON session BEGIN
    INSERT INTO change (kind, subject) VALUES ('session', NEW.id);
END;
CREATE TRIGGER session_deleted AFTER DELETE ON session BEGIN
    INSERT INTO change (kind, subject) VALUES ('session', OLD.id);
END;
CREATE TRIGGER user_disabled AFTER UPDATE OF disabled_at, role, name ON user BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', NEW.id);
END;
-- What policies ask about somebody.
CREATE TRIGGER password_changed AFTER UPDATE OF password ON user
    WHEN (OLD.password IS NULL) <> (NEW.password IS NULL) BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', NEW.id);
END;
CREATE TRIGGER group_joined AFTER INSERT ON user_group BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', NEW.user_id);
END;
CREATE TRIGGER group_renamed AFTER UPDATE ON user_group BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', OLD.user_id);
    INSERT INTO change (kind, subject) VALUES ('user', NEW.user_id);
END;
CREATE TRIGGER group_left AFTER DELETE ON user_group BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', OLD.user_id);
END;
CREATE TRIGGER demand_added AFTER INSERT ON demanded BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', NEW.user_id);
END;
CREATE TRIGGER demand_changed AFTER UPDATE ON demanded BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', NEW.user_id);
END;
CREATE TRIGGER demand_lifted AFTER DELETE ON demanded BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', OLD.user_id);
END;
CREATE TRIGGER authenticator_added AFTER INSERT ON authenticator BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', NEW.user_id);
END;
CREATE TRIGGER authenticator_deleted AFTER DELETE ON authenticator BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', OLD.user_id);
END;
CREATE TRIGGER credential_added AFTER INSERT ON credential BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', NEW.user_id);
END;
CREATE TRIGGER credential_changed AFTER UPDATE OF synced ON credential
    WHEN OLD.synced <> NEW.synced BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', NEW.user_id);
END;
CREATE TRIGGER credential_deleted AFTER DELETE ON credential BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', OLD.user_id);
END;
CREATE TRIGGER user_deleted AFTER DELETE ON user BEGIN
    INSERT INTO change (kind, subject) VALUES ('user', OLD.id);
END;
CREATE TRIGGER cookie_key_added AFTER INSERT ON cookie_key BEGIN
    INSERT INTO change (kind, subject) VALUES ('cookie-key', NEW.id);
END;
CREATE TRIGGER cookie_key_deleted AFTER DELETE ON cookie_key BEGIN
    INSERT INTO change (kind, subject) VALUES ('cookie-key', OLD.id);
END;
CREATE TRIGGER question_added AFTER INSERT ON question BEGIN
    INSERT INTO change (kind, subject) VALUES ('question', NEW.id);
END;
CREATE TRIGGER ban_added AFTER INSERT ON ban BEGIN
    INSERT INTO change (kind, subject) VALUES ('ban', NEW.network);
END;
CREATE TRIGGER ban_changed AFTER UPDATE ON ban BEGIN
    INSERT INTO change (kind, subject) VALUES ('ban', NEW.network);
END;
CREATE TRIGGER ban_deleted AFTER DELETE ON ban BEGIN
    INSERT INTO change (kind, subject) VALUES ('ban', OLD.network);
END;

-- For administrators who look in with the sqlite3 program; pvegate reads none of these. Times are in UTC.
CREATE VIEW people AS
SELECT u.name,
       u.role,
       CASE WHEN u.disabled_at IS NULL THEN 'yes' ELSE 'no' END AS may_sign_in,
       (SELECT count(*) FROM credential c WHERE c.user_id = u.id AND c.kind = 'passkey') AS passkeys,
       (SELECT count(*) FROM credential c WHERE c.user_id = u.id AND c.kind = 'security-key') AS security_keys,
       (SELECT count(*) FROM authenticator a WHERE a.user_id = u.id) AS apps,
       (SELECT count(*) FROM recovery_code r WHERE r.user_id = u.id AND r.used_at IS NULL) AS recovery_codes,
       (SELECT count(*) FROM session s WHERE s.user_id = u.id AND s.ended_at IS NULL
           AND s.expires_at > unixepoch() * 1000) AS open_sessions,
       strftime('%Y-%m-%dT%H:%M:%SZ', u.created_at / 1000, 'unixepoch') AS added,
       strftime('%Y-%m-%dT%H:%M:%SZ', u.disabled_at / 1000, 'unixepoch') AS disabled
FROM user u ORDER BY u.name;

CREATE VIEW methods AS
SELECT u.name AS user, m.kind, m.name, m.id,
       strftime('%Y-%m-%dT%H:%M:%SZ', m.created_at / 1000, 'unixepoch') AS added,
       strftime('%Y-%m-%dT%H:%M:%SZ', m.last_used_at / 1000, 'unixepoch') AS last_used
FROM (SELECT user_id, kind, name, id, created_at, last_used_at FROM credential
      UNION ALL SELECT user_id, 'totp', name, id, created_at, last_used_at FROM authenticator) m
JOIN user u ON u.id = m.user_id ORDER BY u.name, m.created_at;

CREATE VIEW open_sessions AS
SELECT u.name AS user, s.client, s.method, s.scope,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.created_at / 1000, 'unixepoch') AS since,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.last_active_at / 1000, 'unixepoch') AS last_active,
       strftime('%Y-%m-%dT%H:%M:%SZ', s.expires_at / 1000, 'unixepoch') AS ends,
       s.user_agent
FROM session s JOIN user u ON u.id = s.user_id
WHERE s.ended_at IS NULL AND s.expires_at > unixepoch() * 1000 ORDER BY s.created_at;
