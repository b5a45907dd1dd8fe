-- Schema 1. Times are milliseconds since 1970 UTC. Ids are AUTOINCREMENT: never reused, not even after a deleted tail.

CREATE TABLE account (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT UNIQUE,                       -- folded; NULL once deleted
    skeleton TEXT NOT NULL UNIQUE,              -- look-alike key; stays when the account goes, so the name is never reused
    kind     TEXT NOT NULL DEFAULT 'person',    -- person, guest
    password BLOB,                              -- bcrypt; NULL: cannot log in by password
    created  INTEGER NOT NULL,
    deleted  INTEGER,
    disabled INTEGER,
    inbox    INTEGER REFERENCES room (id),
    seen     INTEGER NOT NULL DEFAULT 0,        -- cursor: every event up to this seq was shown to the person
    room     INTEGER REFERENCES room (id),      -- the current room at the last session
    away     TEXT
);

CREATE TABLE room (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL,                      -- group, direct, inbox
    name    TEXT UNIQUE,                        -- '#ops'; NULL for direct and inbox, and once the group is closed
    pair    TEXT UNIQUE,                        -- direct: '3:17:open', the two account ids sorted
    sealed  INTEGER NOT NULL DEFAULT 0,
    door    TEXT NOT NULL DEFAULT 'ask',        -- open, ask, invite
    topic   TEXT NOT NULL DEFAULT '',
    origin  TEXT,                               -- sealed groups: hash of the first entry of the group's log (base64),
    head    TEXT,                               -- of the newest one,
    entries INTEGER NOT NULL DEFAULT 0,         -- and how many there are
    created INTEGER NOT NULL,
    closed  INTEGER
);

-- The one log. A row is never deleted; retention and erasure blank text, data and sealed.
CREATE TABLE event (
    seq    INTEGER PRIMARY KEY AUTOINCREMENT,
    at     INTEGER NOT NULL,
    kind   TEXT NOT NULL,
    room   INTEGER NOT NULL REFERENCES room (id),
    author INTEGER NOT NULL REFERENCES account (id),
    target INTEGER REFERENCES account (id),
    mid    TEXT,                                -- the sender's own id for the call that made this event
    digest INTEGER,                             -- of that call's content: the same mid with another digest is refused
    text   TEXT,
    data   TEXT,                                -- json, by kind
    sealed TEXT,                                -- base64 of what only the recipients can read
    proof  TEXT                                 -- base64 of the signed room-log entry
);
CREATE INDEX event_room ON event (room, seq);
CREATE UNIQUE INDEX event_mid ON event (author, mid) WHERE mid IS NOT NULL;
CREATE INDEX event_proof ON event (room, seq) WHERE proof IS NOT NULL;
-- Whatever is blanked, by age or by wish: an event that carries a proof stays as it is (E2E.md §6).
CREATE TRIGGER event_proof_stays BEFORE UPDATE ON event WHEN old.proof IS NOT NULL BEGIN SELECT RAISE (IGNORE); END;

-- Membership is an interval of seq: who hears event e of the room is who has since <= e.seq <= until.
CREATE TABLE member (
    room    INTEGER NOT NULL REFERENCES room (id),
    account INTEGER NOT NULL REFERENCES account (id),
    since   INTEGER NOT NULL,
    until   INTEGER,                            -- NULL: still in
    role    INTEGER NOT NULL,                   -- 1 member, 2 admin, 3 owner
    ranked  INTEGER NOT NULL,                   -- the seq at which the role was got: seniority
    PRIMARY KEY (room, account, since)
) WITHOUT ROWID;
CREATE UNIQUE INDEX member_now ON member (account, room) WHERE until IS NULL;
CREATE INDEX member_account ON member (account, since);

CREATE TABLE request (
    room    INTEGER NOT NULL REFERENCES room (id),
    account INTEGER NOT NULL REFERENCES account (id),
    at      INTEGER NOT NULL,
    key     TEXT,                               -- sealed groups: the account key of the one who asks (base64)
    PRIMARY KEY (room, account)
) WITHOUT ROWID;
CREATE INDEX request_account ON request (account);

CREATE TABLE ban (
    room    INTEGER NOT NULL REFERENCES room (id),
    account INTEGER NOT NULL REFERENCES account (id),
    author  INTEGER NOT NULL REFERENCES account (id),
    at      INTEGER NOT NULL,
    why     TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (room, account)
) WITHOUT ROWID;

-- A login: one device's standing session, resumed by its token.
CREATE TABLE login (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account (id),
    token   TEXT NOT NULL UNIQUE,               -- SHA-256 of the token, hex; the token itself is never stored
    before  TEXT UNIQUE,                        -- the hash of the token it replaced, good until the new one is used
    client  TEXT NOT NULL,
    address TEXT NOT NULL,
    created INTEGER NOT NULL,
    rotated INTEGER NOT NULL,
    used    INTEGER NOT NULL,
    device  INTEGER REFERENCES device (id)      -- which of the account's devices it is, if it is one
);
CREATE INDEX login_account ON login (account);

-- Tries that are counted, over all instances: 'name:bob', 'addr:203.0.113.7', 'reg:203.0.113.7'.
CREATE TABLE throttle (
    key    TEXT PRIMARY KEY,
    count  INTEGER NOT NULL,
    until  INTEGER NOT NULL,                    -- when the wait is over
    forget INTEGER NOT NULL                     -- when the count is forgotten
) WITHOUT ROWID;

-- Second factors (RFC 6238) and what stands in for them once each. The secret has to be kept as it is; of codes, hashes.
CREATE TABLE factor (
    account INTEGER PRIMARY KEY REFERENCES account (id),
    secret  BLOB NOT NULL,
    used    INTEGER                             -- the last time step whose code was used; NULL: none yet, it is not on
) WITHOUT ROWID;
CREATE TABLE recovery (
    account INTEGER NOT NULL REFERENCES account (id),
    code    TEXT NOT NULL,                      -- SHA-256, hex
    PRIMARY KEY (account, code)
) WITHOUT ROWID;

-- Leave to register where registration is by invitation.
CREATE TABLE invitation (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    code    TEXT NOT NULL UNIQUE,               -- SHA-256, hex
    remaining INTEGER NOT NULL,                 -- how often it may still be used
    uses    INTEGER NOT NULL,                   -- and how often in all
    created INTEGER NOT NULL,
    until   INTEGER NOT NULL,
    note    TEXT NOT NULL
);

-- Keys (E2E.md §1 to §3). Whatever is base64 here was made and signed by clients, and is handed on as it came.
CREATE TABLE manifest (
    account INTEGER NOT NULL REFERENCES account (id),
    seq     INTEGER NOT NULL,                   -- the manifest's own number, from 1
    hash    TEXT NOT NULL,
    key     TEXT NOT NULL,                      -- the account key
    generation INTEGER NOT NULL,
    body    TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (account, seq)
) WITHOUT ROWID;
CREATE TABLE device (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account (id),
    name    TEXT NOT NULL UNIQUE,               -- its 16 random bytes
    key     TEXT NOT NULL,                      -- it signs with this
    newest  INTEGER NOT NULL DEFAULT 0,         -- the highest id of a one-time key ever seen: none comes again
    spare   INTEGER NOT NULL DEFAULT 0,         -- the fallback key's id, and the key
    fallback TEXT,
    added   INTEGER NOT NULL,
    revoked INTEGER
);
CREATE INDEX device_account ON device (account) WHERE revoked IS NULL;
CREATE TABLE prekey (
    device  INTEGER NOT NULL REFERENCES device (id),
    id      INTEGER NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (device, id)
) WITHOUT ROWID;
-- What is for one device alone, until it has acknowledged it.
CREATE TABLE envelope (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    device  INTEGER NOT NULL REFERENCES device (id),
    seq     INTEGER REFERENCES event (seq),     -- the message that it opens; NULL: none
    sender  INTEGER NOT NULL REFERENCES device (id),
    at      INTEGER NOT NULL,
    body    TEXT NOT NULL
);
CREATE INDEX envelope_device ON envelope (device, id);
-- An account's keys, sealed under a code that only the person has.
CREATE TABLE vault (
    account INTEGER PRIMARY KEY REFERENCES account (id),
    body    TEXT NOT NULL,
    at      INTEGER NOT NULL
);
-- Devices that ask to become their account's.
CREATE TABLE linking (
    account INTEGER NOT NULL REFERENCES account (id),
    device  TEXT NOT NULL,
    entry   TEXT NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (account, device)
) WITHOUT ROWID;

-- Who serves and who is connected where. Not in the log: it is true only now.
CREATE TABLE instance (
    node INTEGER PRIMARY KEY,
    boot TEXT NOT NULL,
    beat INTEGER NOT NULL
);
CREATE TABLE presence (
    node    INTEGER NOT NULL REFERENCES instance (node) ON DELETE CASCADE,
    account INTEGER NOT NULL REFERENCES account (id),
    PRIMARY KEY (node, account)
) WITHOUT ROWID;
CREATE INDEX presence_account ON presence (account);

-- Retention: what a room's admins decided, and how far it was carried out. No row: as the server has it.
CREATE TABLE retention (
    room    INTEGER PRIMARY KEY REFERENCES room (id),
    seconds INTEGER,                            -- what was said is kept so long; NULL: no such bound
    lines   INTEGER,                            -- so many of the newest are kept; NULL: no such bound
    upto    INTEGER NOT NULL DEFAULT 0          -- up to this seq nothing is left to blank
);

-- Accounts that are deleted and whose words are being blanked: up to this seq none of them is left.
CREATE TABLE erasure (
    account INTEGER PRIMARY KEY REFERENCES account (id),
    upto    INTEGER NOT NULL DEFAULT 0
);

-- What deleted accounts were called, for the minute in which all instances tell who has left.
CREATE TABLE farewell (
    account INTEGER PRIMARY KEY REFERENCES account (id),
    name    TEXT NOT NULL,
    at      INTEGER NOT NULL
);

-- Files. Their bytes stand in the folder blobs/ under the number alone: nothing that anybody typed is part of a path.
CREATE TABLE file (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    room    INTEGER NOT NULL REFERENCES room (id),
    author  INTEGER NOT NULL REFERENCES account (id),
    size    INTEGER,                            -- bytes; NULL: not told yet
    digest  TEXT,                               -- SHA-256, hex; NULL: not told yet
    name    TEXT,                               -- as typed; NULL in sealed rooms, and once it is gone
    type    TEXT,                               -- as told
    caption TEXT,
    mid     TEXT,                               -- of the call that began it, then of the event that announces it
    call    INTEGER,                            -- that call's digest, as in event
    got     INTEGER NOT NULL DEFAULT 0,         -- bytes that had come at the last look; the folder knows exactly
    made    INTEGER NOT NULL,
    touched INTEGER NOT NULL,                   -- when bytes last came
    stored  INTEGER,                            -- when it was complete on disk; NULL: not yet
    seq     INTEGER,                            -- the event that announces it; NULL: none yet
    gone    INTEGER                             -- when it expired or was taken back
);
CREATE UNIQUE INDEX file_mid ON file (author, mid) WHERE mid IS NOT NULL;
CREATE INDEX file_gone ON file (gone) WHERE gone IS NOT NULL;
CREATE INDEX file_author ON file (author) WHERE gone IS NULL;
CREATE INDEX file_room ON file (room) WHERE gone IS NULL;

-- What one raw connection may do, once.
CREATE TABLE ticket (
    hash    TEXT PRIMARY KEY,                   -- SHA-256 of the ticket, hex
    file    INTEGER NOT NULL REFERENCES file (id) ON DELETE CASCADE,
    account INTEGER NOT NULL REFERENCES account (id),
    upload  INTEGER NOT NULL,                   -- 1: bytes come, 0: bytes from start to stop go
    start   INTEGER NOT NULL,
    stop    INTEGER NOT NULL,
    until   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX ticket_file ON ticket (file);
CREATE INDEX ticket_account ON ticket (account);

-- Read markers: up to which time an account has read a room, as its devices tell each other (IRC's MARKREAD).
CREATE TABLE marker (
    account INTEGER NOT NULL REFERENCES account (id),
    room    INTEGER NOT NULL REFERENCES room (id),
    at      INTEGER NOT NULL,
    PRIMARY KEY (account, room)
) WITHOUT ROWID;

-- Client certificates that log an account in (IRC's SASL EXTERNAL), by the SHA-256 of the certificate, hex.
CREATE TABLE certificate (
    fingerprint TEXT PRIMARY KEY,
    account     INTEGER NOT NULL REFERENCES account (id),
    added       INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX certificate_account ON certificate (account);
