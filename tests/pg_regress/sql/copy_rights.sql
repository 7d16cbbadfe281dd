--
-- COPY needs the rights that it needs of any table, and no others (I7)
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE ROLE regress_copier;
CREATE ROLE regress_reader;
CREATE TABLE t (k int NOT NULL, v text, secret text DEFAULT 'none');
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 2);
CREATE TABLE native (k int NOT NULL, v text, secret text DEFAULT 'none') PARTITION BY HASH (k);
CREATE TABLE native_p0 PARTITION OF native FOR VALUES WITH (MODULUS 1, REMAINDER 0);
RESET client_min_messages;
SELECT current_setting('data_directory') || '/rights' AS file \gset
COPY (SELECT g, 'row' FROM generate_series(1, 3) AS g) TO :'file';
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE n bigint; hint text;
BEGIN
    EXECUTE statement;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN 'COPY ' || n;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(hint, ''));
END $$;
-- The same statement on a table that PostgreSQL partitions says the same.
CREATE FUNCTION copy_both(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE ours text := outcome(format(statement, 't')); theirs text := replace(outcome(format(statement, 'native')), 'native', 't');
BEGIN
    -- Texts differ from major to major.
    RETURN CASE WHEN ours = theirs THEN split_part(ours, ' | ', 1) ELSE ours || ' -- and natively: ' || theirs END;
END $$;
\pset format unaligned
\pset tuples_only on
SELECT format('COPY %%s (k, v) FROM %L', :'file') AS from_file, format('COPY %%s FROM %L', :'file') AS whole \gset

-- files and programs
GRANT INSERT (k, v) ON t, native TO regress_copier;
SET ROLE regress_copier;
SELECT copy_both(:'from_file');
SELECT copy_both('COPY %s (k, v) FROM PROGRAM ''true''');
SELECT outcome('COPY t TO ''/nowhere''') ~ '^42501';
RESET ROLE;
GRANT pg_read_server_files, pg_execute_server_program TO regress_copier;

-- columns
SET ROLE regress_copier;
SELECT copy_both(:'from_file');
SELECT copy_both(:'whole');
SELECT copy_both('COPY %s (k, secret) FROM PROGRAM ''true''');
SELECT copy_both(:'from_file' || ' WHERE k > 1');
SELECT outcome('COPY t (k, pss_partition) FROM PROGRAM ''echo 1''') ~ '^42501';
SELECT outcome('COPY t_p0 (k) FROM PROGRAM ''echo 1''') ~ '^42501';
SELECT outcome('COPY t TO PROGRAM ''cat > /dev/null''') ~ '^42501';
RESET ROLE;
GRANT SELECT (k) ON t, native TO regress_copier;
SET ROLE regress_copier;
SELECT copy_both(:'from_file' || ' WHERE k > 1');
SELECT copy_both(:'from_file' || ' WHERE v = ''row''');
SELECT outcome('COPY t (k) TO PROGRAM ''cat > /dev/null''');
SELECT outcome('COPY t (k, v) TO PROGRAM ''cat > /dev/null''') ~ '^42501';
RESET ROLE;
-- the schema of pss need not be visible
REVOKE USAGE ON SCHEMA pss FROM PUBLIC;
SET ROLE regress_copier;
SELECT copy_both(:'from_file');
RESET ROLE;
GRANT USAGE ON SCHEMA pss TO PUBLIC;

-- read-only
BEGIN READ ONLY;
SELECT copy_both(:'from_file');
SELECT outcome('COPY t_p0 (k) FROM PROGRAM ''echo 1''') ~ '^25006';
SELECT outcome('COPY t TO PROGRAM ''cat > /dev/null''');
COMMIT;

-- row security: COPY FROM is refused, COPY TO shows what may be seen
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
ALTER TABLE native ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible ON t USING (k < 3);
CREATE POLICY visible ON native USING (k < 3);
GRANT SELECT, INSERT ON t, native TO regress_reader;
GRANT pg_read_server_files, pg_execute_server_program TO regress_reader;
SET ROLE regress_reader;
SELECT copy_both(:'from_file');
SELECT copy_both(:'from_file' || ' WHERE k < 3');
SELECT count(*) AS visible FROM t \gset
SELECT outcome('COPY t TO PROGRAM ''cat > /dev/null''') = 'COPY ' || :visible;
SET row_security = off;
SELECT copy_both(:'from_file');
SELECT outcome('COPY t TO PROGRAM ''cat > /dev/null''') ~ '^42501 \| query would be affected by row-level security policy for table "t"';
RESET row_security;
RESET ROLE;
\pset format aligned
\pset tuples_only off
SELECT count(*) = (SELECT count(*) FROM native) AS equal FROM t;
SELECT * FROM pss_check('t');
DROP OWNED BY regress_copier, regress_reader;
REVOKE pg_read_server_files, pg_execute_server_program FROM regress_copier, regress_reader;
DROP ROLE regress_copier, regress_reader;
