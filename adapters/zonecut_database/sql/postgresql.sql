-- The tables of zonecut's adapter `database`, version 1, for PostgreSQL 12 and later. README.md beside the adapter says
-- what they mean. zonecut makes them when its role may; else run this file as the role that is to own them:
--
--     psql --single-transaction --file postgresql.sql DATABASE
--
-- Names are lower-case, absolute, in the escapes of RFC 1035; RDATA is what stands in a zone file, names in it absolute.

CREATE TABLE zonecut_schema (
    version integer NOT NULL
);
INSERT INTO zonecut_schema (version) VALUES (1);

CREATE TABLE zonecut_zones (
    zone text COLLATE "C" PRIMARY KEY,
    serial bigint NOT NULL DEFAULT 0,

    CONSTRAINT zonecut_zone_is_a_name CHECK (zone ~ '^[!-~]+\.$' AND zone = lower(zone))
);

CREATE TABLE zonecut_records (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    zone text COLLATE "C" NOT NULL REFERENCES zonecut_zones,
    child text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    ttl integer NOT NULL,
    rdata text COLLATE "C" NOT NULL,

    CONSTRAINT zonecut_owner_is_a_name CHECK (owner ~ '^[!-~]+\.$' AND owner = lower(owner)),
    CONSTRAINT zonecut_owner_is_in_zone
        CHECK (owner = zone OR substr(owner, length(owner) - length(zone)) = '.' || zone),
    CONSTRAINT zonecut_child_is_in_zone
        CHECK (child = zone OR substr(child, length(child) - length(zone)) = '.' || zone),
    CONSTRAINT zonecut_record_is_of_child CHECK (CASE
        WHEN child = zone THEN owner = zone OR type NOT IN ('NS', 'DS')
        WHEN type IN ('NS', 'DS') THEN owner = child
        WHEN type IN ('A', 'AAAA') THEN owner = child OR substr(owner, length(owner) - length(child)) = '.' || child
        ELSE false
    END),
    CONSTRAINT zonecut_type_is_a_type CHECK (
        type ~ '^[A-Z][A-Z0-9-]*$' AND type NOT IN ('TYPE1', 'TYPE2', 'TYPE5', 'TYPE28', 'TYPE39', 'TYPE43')
    ),
    CONSTRAINT zonecut_ttl_is_a_ttl CHECK (ttl >= 0),
    CONSTRAINT zonecut_rdata_is_of_type CHECK (CASE type
        WHEN 'NS' THEN rdata ~ '^[!-~]*\.$' AND rdata = lower(rdata)
        WHEN 'DS' THEN rdata ~ '^[0-9]{1,5} [0-9]{1,3} [0-9]{1,3} ([0-9A-F]{2})+$'
        WHEN 'A' THEN rdata ~ '^[0-9.]+$' AND host(rdata::inet) = rdata
        WHEN 'AAAA' THEN rdata ~ '^[0-9a-f:]+$' AND family(rdata::inet) = 6
        ELSE rdata ~ '^[ -~]+$'
    END)
);
-- No record is there twice. Of the RDATA its hash: a large key has more octets than an index entry may have.
CREATE UNIQUE INDEX zonecut_records_once ON zonecut_records (zone, owner, type, sha256(decode(replace(rdata, '\', '\\'), 'escape')));
CREATE INDEX zonecut_records_of_child ON zonecut_records (zone, child);
-- The delegations more than one label below the apex: those that another one may hide.
CREATE INDEX zonecut_records_deep ON zonecut_records (zone, child)
    WHERE type = 'NS' AND child <> zone
    AND length(child) - length(replace(child, '.', '')) > length(zone) - length(replace(zone, '.', '')) + 1;
-- The hosts that NS records name, and whose addresses stay as long as one does.
CREATE INDEX zonecut_records_servers ON zonecut_records (zone, rdata) WHERE type = 'NS';

CREATE TABLE zonecut_history (
    zone text COLLATE "C" NOT NULL REFERENCES zonecut_zones,
    serial bigint NOT NULL,
    at timestamptz NOT NULL,
    author text NOT NULL,
    action text NOT NULL,
    child text COLLATE "C" NOT NULL,
    owner text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    ttl integer NOT NULL,
    rdata text COLLATE "C" NOT NULL,

    PRIMARY KEY (zone, serial),
    CONSTRAINT zonecut_action_is_known CHECK (action IN ('added', 'removed'))
);
CREATE INDEX zonecut_history_of_child ON zonecut_history (zone, child, serial);

-- How far those have come who make zones of these tables: everything up to `serial` of the history is in the zone. Each
-- writes its own row; README.md says how.

CREATE TABLE IF NOT EXISTS zonecut_consumers (
    consumer text NOT NULL,
    zone text COLLATE "C" NOT NULL REFERENCES zonecut_zones ON DELETE CASCADE,
    serial bigint NOT NULL,
    status text NOT NULL DEFAULT 'ok',
    reason text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT statement_timestamp(),

    PRIMARY KEY (zone, consumer),
    CONSTRAINT zonecut_consumer_has_a_name CHECK (length(consumer) BETWEEN 1 AND 64),
    CONSTRAINT zonecut_status_is_known CHECK (status IN ('ok', 'failed'))
);

-- Whoever changes records, and by whatever statement: each row gets the next serial, and listeners are told the zone.
-- The update of zonecut_zones holds the zone's lock until the transaction ends, so serials are committed in their order.

CREATE FUNCTION zonecut_note_rows() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    WITH counted AS (SELECT zone, count(*) AS rows FROM changed GROUP BY zone),
    moved AS (
        UPDATE zonecut_zones SET serial = serial + rows FROM counted WHERE zonecut_zones.zone = counted.zone
        RETURNING counted.zone, serial - rows AS last
    )
    INSERT INTO zonecut_history (zone, serial, at, author, action, child, owner, type, ttl, rdata)
        SELECT zone, last + row_number() OVER (PARTITION BY zone ORDER BY id), statement_timestamp(), session_user,
            CASE TG_OP WHEN 'INSERT' THEN 'added' ELSE 'removed' END, child, owner, type, ttl, rdata
        FROM changed JOIN moved USING (zone);
    PERFORM pg_notify('zonecut', zone) FROM (SELECT DISTINCT zone FROM changed) AS touched;
    RETURN NULL;
END
$$;

CREATE FUNCTION zonecut_note_update() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    WITH changed AS MATERIALIZED (
        SELECT 'removed' AS action, gone.* FROM (SELECT * FROM before EXCEPT SELECT * FROM after) AS gone
        UNION ALL
        SELECT 'added' AS action, come.* FROM (SELECT * FROM after EXCEPT SELECT * FROM before) AS come
    ),
    counted AS (SELECT zone, count(*) AS rows FROM changed GROUP BY zone),
    moved AS (
        UPDATE zonecut_zones SET serial = serial + rows FROM counted WHERE zonecut_zones.zone = counted.zone
        RETURNING counted.zone, serial - rows AS last
    )
    INSERT INTO zonecut_history (zone, serial, at, author, action, child, owner, type, ttl, rdata)
        SELECT zone, last + row_number() OVER (PARTITION BY zone ORDER BY id, action DESC), statement_timestamp(),
            session_user, action, child, owner, type, ttl, rdata
        FROM changed JOIN moved USING (zone);
    PERFORM pg_notify('zonecut', zone) FROM (SELECT zone FROM before UNION SELECT zone FROM after) AS touched;
    RETURN NULL;
END
$$;

CREATE TRIGGER zonecut_insert AFTER INSERT ON zonecut_records
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION zonecut_note_rows();
CREATE TRIGGER zonecut_delete AFTER DELETE ON zonecut_records
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION zonecut_note_rows();
CREATE TRIGGER zonecut_update AFTER UPDATE ON zonecut_records
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION zonecut_note_update();

-- TRUNCATE has no rows for a trigger: those that there are go, all of them.
CREATE OR REPLACE FUNCTION zonecut_note_truncate() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    WITH counted AS (SELECT zone, count(*) AS rows FROM zonecut_records GROUP BY zone),
    moved AS (
        UPDATE zonecut_zones SET serial = serial + rows FROM counted WHERE zonecut_zones.zone = counted.zone
        RETURNING counted.zone, serial - rows AS last
    )
    INSERT INTO zonecut_history (zone, serial, at, author, action, child, owner, type, ttl, rdata)
        SELECT zone, last + row_number() OVER (PARTITION BY zone ORDER BY id), statement_timestamp(), session_user,
            'removed', child, owner, type, ttl, rdata
        FROM zonecut_records JOIN moved USING (zone);
    PERFORM pg_notify('zonecut', zone) FROM (SELECT DISTINCT zone FROM zonecut_records) AS touched;
    RETURN NULL;
END
$$;

CREATE TRIGGER zonecut_truncate BEFORE TRUNCATE ON zonecut_records
    FOR EACH STATEMENT EXECUTE FUNCTION zonecut_note_truncate();
