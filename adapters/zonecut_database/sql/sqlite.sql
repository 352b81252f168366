-- The tables of zonecut's adapter `database`, version 1, for SQLite 3.35 and later. README.md beside the adapter says
-- what they mean. zonecut makes them in an empty file; to make them before: sqlite3 FILE <sqlite.sql
--
-- Names are lower-case, absolute, in the escapes of RFC 1035; RDATA is what stands in a zone file, names in it absolute.

CREATE TABLE zonecut_schema (
    version INTEGER NOT NULL
);
INSERT INTO zonecut_schema (version) VALUES (1);

CREATE TABLE zonecut_zones (
    zone TEXT NOT NULL PRIMARY KEY,
    serial INTEGER NOT NULL DEFAULT 0,

    CONSTRAINT zonecut_zone_is_a_name CHECK (zone GLOB '?*.' AND zone NOT GLOB '*[^!-~]*' AND zone = lower(zone))
);

CREATE TABLE zonecut_records (
    id INTEGER PRIMARY KEY,
    zone TEXT NOT NULL REFERENCES zonecut_zones,
    child TEXT NOT NULL,
    owner TEXT NOT NULL,
    type TEXT NOT NULL,
    ttl INTEGER NOT NULL,
    rdata TEXT NOT NULL,

    CONSTRAINT zonecut_text_is_text CHECK (
        typeof(zone) = 'text' AND typeof(child) = 'text' AND typeof(owner) = 'text'
        AND typeof(type) = 'text' AND typeof(rdata) = 'text'
    ),
    CONSTRAINT zonecut_owner_is_a_name CHECK (owner GLOB '?*.' AND owner NOT GLOB '*[^!-~]*' AND owner = lower(owner)),
    CONSTRAINT zonecut_owner_is_in_zone
        CHECK (owner = zone OR substr(owner, length(owner) - length(zone)) = '.' || zone),
    CONSTRAINT zonecut_child_is_in_zone
        CHECK (child = zone OR substr(child, length(child) - length(zone)) = '.' || zone),
    CONSTRAINT zonecut_record_is_of_child CHECK (CASE
        WHEN child = zone THEN owner = zone OR type NOT IN ('NS', 'DS')
        WHEN type IN ('NS', 'DS') THEN owner = child
        WHEN type IN ('A', 'AAAA') THEN owner = child OR substr(owner, length(owner) - length(child)) = '.' || child
        ELSE 0
    END),
    CONSTRAINT zonecut_type_is_a_type CHECK (
        type GLOB '[A-Z]*' AND type NOT GLOB '*[^A-Z0-9-]*'
        AND type NOT IN ('TYPE1', 'TYPE2', 'TYPE5', 'TYPE28', 'TYPE39', 'TYPE43')
    ),
    CONSTRAINT zonecut_ttl_is_a_ttl CHECK (typeof(ttl) = 'integer' AND ttl BETWEEN 0 AND 2147483647),
    CONSTRAINT zonecut_rdata_is_of_type CHECK (CASE type
        WHEN 'NS' THEN rdata GLOB '*.' AND rdata NOT GLOB '*[^!-~]*' AND rdata = lower(rdata)
        WHEN 'DS' THEN rdata GLOB '[0-9]* [0-9]* [0-9]* [0-9A-F]*' AND rdata NOT GLOB '*[^0-9A-F ]*'
        WHEN 'A' THEN rdata GLOB '[0-9]*.[0-9]*.[0-9]*.[0-9]*' AND rdata NOT GLOB '*[^0-9.]*'
            AND rdata NOT GLOB '*.*.*.*.*' AND '.' || rdata NOT GLOB '*.0[0-9]*'
        WHEN 'AAAA' THEN rdata GLOB '*:*:*' AND rdata NOT GLOB '*[^0-9a-f:]*'
        ELSE rdata <> '' AND rdata NOT GLOB '*[^ -~]*'
    END)
);
-- No record is there twice.
CREATE UNIQUE INDEX zonecut_records_once ON zonecut_records (zone, owner, type, rdata);
CREATE INDEX zonecut_records_of_child ON zonecut_records (zone, child);
-- The delegations more than one label below the apex: those that another one may hide.
CREATE INDEX zonecut_records_deep ON zonecut_records (zone, child)
    WHERE type = 'NS' AND child <> zone
    AND length(child) - length(replace(child, '.', '')) > length(zone) - length(replace(zone, '.', '')) + 1;
-- The hosts that NS records name, and whose addresses stay as long as one does.
CREATE INDEX zonecut_records_servers ON zonecut_records (zone, rdata) WHERE type = 'NS';

CREATE TABLE zonecut_history (
    zone TEXT NOT NULL REFERENCES zonecut_zones,
    serial INTEGER NOT NULL,
    at TEXT NOT NULL,
    author TEXT NOT NULL,
    action TEXT NOT NULL,
    child TEXT NOT NULL,
    owner TEXT NOT NULL,
    type TEXT NOT NULL,
    ttl INTEGER NOT NULL,
    rdata TEXT NOT NULL,

    PRIMARY KEY (zone, serial),
    CONSTRAINT zonecut_action_is_known CHECK (action IN ('added', 'removed'))
) WITHOUT ROWID;
CREATE INDEX zonecut_history_of_child ON zonecut_history (zone, child, serial);

-- How far those have come who make zones of these tables: everything up to `serial` of the history is in the zone. Each
-- writes its own row; README.md says how.

CREATE TABLE IF NOT EXISTS zonecut_consumers (
    consumer TEXT NOT NULL,
    zone TEXT NOT NULL REFERENCES zonecut_zones ON DELETE CASCADE,
    serial INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'ok',
    reason TEXT NOT NULL DEFAULT '',
    at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),

    PRIMARY KEY (zone, consumer),
    CONSTRAINT zonecut_consumer_has_a_name CHECK (length(consumer) BETWEEN 1 AND 64),
    CONSTRAINT zonecut_serial_is_a_number CHECK (typeof(serial) = 'integer'),
    CONSTRAINT zonecut_status_is_known CHECK (status IN ('ok', 'failed'))
) WITHOUT ROWID;

-- Whoever changes records, and by whatever statement: each row gets the next serial.

CREATE TRIGGER zonecut_insert AFTER INSERT ON zonecut_records BEGIN
    UPDATE zonecut_zones SET serial = serial + 1 WHERE zone = NEW.zone;
    INSERT INTO zonecut_history
        SELECT zone, serial, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), '', 'added',
            NEW.child, NEW.owner, NEW.type, NEW.ttl, NEW.rdata
        FROM zonecut_zones WHERE zone = NEW.zone;
END;
CREATE TRIGGER zonecut_delete AFTER DELETE ON zonecut_records BEGIN
    UPDATE zonecut_zones SET serial = serial + 1 WHERE zone = OLD.zone;
    INSERT INTO zonecut_history
        SELECT zone, serial, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), '', 'removed',
            OLD.child, OLD.owner, OLD.type, OLD.ttl, OLD.rdata
        FROM zonecut_zones WHERE zone = OLD.zone;
END;
CREATE TRIGGER zonecut_update AFTER UPDATE ON zonecut_records
WHEN (OLD.zone, OLD.child, OLD.owner, OLD.type, OLD.ttl, OLD.rdata)
    <> (NEW.zone, NEW.child, NEW.owner, NEW.type, NEW.ttl, NEW.rdata) BEGIN
    UPDATE zonecut_zones SET serial = serial + 1 WHERE zone = OLD.zone;
    INSERT INTO zonecut_history
        SELECT zone, serial, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), '', 'removed',
            OLD.child, OLD.owner, OLD.type, OLD.ttl, OLD.rdata
        FROM zonecut_zones WHERE zone = OLD.zone;
    UPDATE zonecut_zones SET serial = serial + 1 WHERE zone = NEW.zone;
    INSERT INTO zonecut_history
        SELECT zone, serial, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), '', 'added',
            NEW.child, NEW.owner, NEW.type, NEW.ttl, NEW.rdata
        FROM zonecut_zones WHERE zone = NEW.zone;
END;
