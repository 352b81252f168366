-- The tables of zonecut's adapter `database`, version 1, for MariaDB 10.6 and later. README.md beside the adapter says
-- what they mean. zonecut makes them when its account may; else run this file as one that is to own them, and stays:
-- the triggers act in its name.
--
--     mariadb DATABASE <mariadb.sql
--
-- Names are lower-case, absolute, in the escapes of RFC 1035; RDATA is what stands in a zone file, names in it absolute.
-- MariaDB ends a transaction before each statement here: whatever was interrupted half-way is finished by running it
-- again. The last statement says that all of it is there.

CREATE TABLE IF NOT EXISTS zonecut_zones (
    zone varchar(1004) NOT NULL PRIMARY KEY,
    serial bigint NOT NULL DEFAULT 0,

    CONSTRAINT zonecut_zone_is_a_name
        CHECK (zone LIKE '_%.' AND zone NOT REGEXP '[^!-~]' AND zone = lower(zone))
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET ascii COLLATE ascii_nopad_bin;

-- Of the RDATA its hash: no record is there twice, and a large key has more octets than an index entry may have.
-- `zonecut_deep` is for the delegations more than one label below the apex: those that another one may hide;
-- `zonecut_servers` for the hosts that NS records name, and whose addresses stay as long as one does.
CREATE TABLE IF NOT EXISTS zonecut_records (
    id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    zone varchar(1004) NOT NULL,
    child varchar(1004) NOT NULL,
    owner varchar(1004) NOT NULL,
    type varchar(20) NOT NULL,
    ttl integer NOT NULL,
    rdata mediumtext NOT NULL,
    rdata_hash binary(32) AS (unhex(sha2(rdata, 256))) STORED INVISIBLE,
    deep boolean AS (
        type = 'NS' AND child <> zone
        AND length(child) - length(replace(child, '.', '')) > length(zone) - length(replace(zone, '.', '')) + 1
    ) STORED INVISIBLE,

    UNIQUE KEY zonecut_records_once (zone, owner, type, rdata_hash),
    KEY zonecut_records_of_child (zone, child),
    KEY zonecut_records_deep (zone, deep, child),
    KEY zonecut_records_servers (zone, type, rdata(1004)),
    CONSTRAINT zonecut_records_are_of_zone FOREIGN KEY (zone) REFERENCES zonecut_zones (zone),
    CONSTRAINT zonecut_owner_is_a_name
        CHECK (owner LIKE '_%.' AND owner NOT REGEXP '[^!-~]' AND owner = lower(owner)),
    CONSTRAINT zonecut_owner_is_in_zone
        CHECK (owner = zone OR right(owner, length(zone) + 1) = concat('.', zone)),
    CONSTRAINT zonecut_child_is_in_zone
        CHECK (child = zone OR right(child, length(zone) + 1) = concat('.', zone)),
    CONSTRAINT zonecut_record_is_of_child CHECK (CASE
        WHEN child = zone THEN owner = zone OR type NOT IN ('NS', 'DS')
        WHEN type IN ('NS', 'DS') THEN owner = child
        WHEN type IN ('A', 'AAAA') THEN owner = child OR right(owner, length(child) + 1) = concat('.', child)
        ELSE false
    END),
    CONSTRAINT zonecut_type_is_a_type CHECK (
        type REGEXP '^[A-Z]' AND type NOT REGEXP '[^A-Z0-9-]'
        AND type NOT IN ('TYPE1', 'TYPE2', 'TYPE5', 'TYPE28', 'TYPE39', 'TYPE43')
    ),
    CONSTRAINT zonecut_ttl_is_a_ttl CHECK (ttl >= 0),
    CONSTRAINT zonecut_rdata_is_of_type CHECK (rdata <> '' AND rdata NOT REGEXP '[^ -~]' AND CASE type
        WHEN 'NS' THEN rdata LIKE '%.' AND rdata NOT LIKE '% %' AND rdata = lower(rdata)
        WHEN 'DS' THEN rdata REGEXP '^[0-9]{1,5} [0-9]{1,3} [0-9]{1,3} ([0-9A-F]{2})+$'
        WHEN 'A' THEN coalesce(inet_ntoa(inet_aton(rdata)) = rdata, false)
        WHEN 'AAAA' THEN rdata NOT REGEXP '[^0-9a-f:]' AND is_ipv6(rdata)
        ELSE true
    END)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET ascii COLLATE ascii_nopad_bin;

CREATE TABLE IF NOT EXISTS zonecut_history (
    zone varchar(1004) NOT NULL,
    serial bigint NOT NULL,
    at datetime(6) NOT NULL,
    author varchar(400) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    action varchar(7) NOT NULL,
    child varchar(1004) NOT NULL,
    owner varchar(1004) NOT NULL,
    type varchar(20) NOT NULL,
    ttl integer NOT NULL,
    rdata mediumtext NOT NULL,

    PRIMARY KEY (zone, serial),
    KEY zonecut_history_of_child (zone, child, serial),
    CONSTRAINT zonecut_history_is_of_zone FOREIGN KEY (zone) REFERENCES zonecut_zones (zone),
    CONSTRAINT zonecut_action_is_known CHECK (action IN ('added', 'removed'))
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET ascii COLLATE ascii_nopad_bin;

-- How far those have come who make zones of these tables: everything up to `serial` of the history is in the zone. Each
-- writes its own row; README.md says how.

CREATE TABLE IF NOT EXISTS zonecut_consumers (
    consumer varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL,
    zone varchar(1004) NOT NULL,
    serial bigint NOT NULL,
    status varchar(6) NOT NULL DEFAULT 'ok',
    reason text CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin NOT NULL DEFAULT '',
    at datetime(6) NOT NULL DEFAULT utc_timestamp(6),

    PRIMARY KEY (zone, consumer),
    CONSTRAINT zonecut_consumers_are_of_zone
        FOREIGN KEY (zone) REFERENCES zonecut_zones (zone) ON DELETE CASCADE,
    CONSTRAINT zonecut_consumer_has_a_name CHECK (consumer <> ''),
    CONSTRAINT zonecut_status_is_known CHECK (status IN ('ok', 'failed'))
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET ascii COLLATE ascii_nopad_bin;

DELIMITER //

-- Whoever changes records, and by whatever statement: each row gets the next serial. The update of zonecut_zones holds
-- the zone's lock until the transaction ends, so serials are committed in their order. Who inserts has it before the
-- foreign key is looked at: two who held a shared one there could never go on.

CREATE OR REPLACE TRIGGER zonecut_before_insert BEFORE INSERT ON zonecut_records FOR EACH ROW BEGIN
    DECLARE locked bigint;
    SELECT serial INTO locked FROM zonecut_zones WHERE zone = NEW.zone FOR UPDATE;
END//

CREATE OR REPLACE TRIGGER zonecut_insert AFTER INSERT ON zonecut_records FOR EACH ROW BEGIN
    UPDATE zonecut_zones SET serial = serial + 1 WHERE zone = NEW.zone;
    INSERT INTO zonecut_history (zone, serial, at, author, action, child, owner, type, ttl, rdata)
        SELECT zone, serial, utc_timestamp(6), user(), 'added', NEW.child, NEW.owner, NEW.type, NEW.ttl, NEW.rdata
        FROM zonecut_zones WHERE zone = NEW.zone;
END//

CREATE OR REPLACE TRIGGER zonecut_delete AFTER DELETE ON zonecut_records FOR EACH ROW BEGIN
    UPDATE zonecut_zones SET serial = serial + 1 WHERE zone = OLD.zone;
    INSERT INTO zonecut_history (zone, serial, at, author, action, child, owner, type, ttl, rdata)
        SELECT zone, serial, utc_timestamp(6), user(), 'removed', OLD.child, OLD.owner, OLD.type, OLD.ttl, OLD.rdata
        FROM zonecut_zones WHERE zone = OLD.zone;
END//

CREATE OR REPLACE TRIGGER zonecut_update AFTER UPDATE ON zonecut_records FOR EACH ROW BEGIN
    IF OLD.zone <> NEW.zone OR OLD.child <> NEW.child OR OLD.owner <> NEW.owner OR OLD.type <> NEW.type
        OR OLD.ttl <> NEW.ttl OR OLD.rdata <> NEW.rdata
    THEN
        UPDATE zonecut_zones SET serial = serial + 1 WHERE zone = OLD.zone;
        INSERT INTO zonecut_history (zone, serial, at, author, action, child, owner, type, ttl, rdata)
            SELECT zone, serial, utc_timestamp(6), user(), 'removed',
                OLD.child, OLD.owner, OLD.type, OLD.ttl, OLD.rdata
            FROM zonecut_zones WHERE zone = OLD.zone;
        UPDATE zonecut_zones SET serial = serial + 1 WHERE zone = NEW.zone;
        INSERT INTO zonecut_history (zone, serial, at, author, action, child, owner, type, ttl, rdata)
            SELECT zone, serial, utc_timestamp(6), user(), 'added',
                NEW.child, NEW.owner, NEW.type, NEW.ttl, NEW.rdata
            FROM zonecut_zones WHERE zone = NEW.zone;
    END IF;
END//

DELIMITER ;

CREATE TABLE IF NOT EXISTS zonecut_schema (
    version integer NOT NULL
) ENGINE=InnoDB;

INSERT INTO zonecut_schema (version) SELECT 1 FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM zonecut_schema);
