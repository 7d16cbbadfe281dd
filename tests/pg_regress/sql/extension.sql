-- What every object of the extension owes its users, read from the system catalogs: a part that
-- is added without its comment, its library symbol or a pinned search_path is listed here.
CREATE EXTENSION pss;

CREATE TEMP VIEW member AS
SELECT classid, objid, pg_identify_object(classid, objid, 0) AS object
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pss')
  AND deptype = 'e';

-- There are functions and relations at all, or the questions below would be void.
SELECT count(*) FILTER (WHERE classid = 'pg_proc'::regclass) > 5 AS has_functions,
       count(*) FILTER (WHERE classid = 'pg_class'::regclass) > 5 AS has_relations
FROM member;

-- C functions whose symbol the library lacks (CREATE EXTENSION does not look).
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT p.oid FROM member JOIN pg_proc p ON p.oid = objid
             JOIN pg_language l ON l.oid = prolang
             WHERE classid = 'pg_proc'::regclass AND lanname = 'c' ORDER BY p.oid::regprocedure::text
    LOOP
        BEGIN
            PERFORM fmgr_c_validator(f.oid);
        EXCEPTION WHEN OTHERS THEN
            RAISE NOTICE '%: %', f.oid::regprocedure, SQLERRM;
        END;
    END LOOP;
END
$$;

-- Objects without a comment.
SELECT (object).type, (object).identity
FROM member
WHERE (classid = 'pg_proc'::regclass AND obj_description(objid, 'pg_proc') IS NULL)
   OR (classid = 'pg_class'::regclass AND obj_description(objid, 'pg_class') IS NULL)
   OR (classid = 'pg_namespace'::regclass AND obj_description(objid, 'pg_namespace') IS NULL)
ORDER BY 1, 2;

-- Functions in a language other than C that do not pin search_path.
SELECT objid::regprocedure
FROM member JOIN pg_proc p ON p.oid = objid JOIN pg_language l ON l.oid = prolang
WHERE classid = 'pg_proc'::regclass AND lanname <> 'c'
  AND NOT EXISTS (SELECT FROM unnest(proconfig) AS setting WHERE setting LIKE 'search\_path=%')
ORDER BY objid::regprocedure::text;

-- Functions that run with their owner's rights: every one is listed here on purpose.
SELECT objid::regprocedure
FROM member JOIN pg_proc p ON p.oid = objid
WHERE classid = 'pg_proc'::regclass AND prosecdef
ORDER BY objid::regprocedure::text;

-- Relations anybody may change: none.
SELECT objid::regclass, privilege_type
FROM member JOIN pg_class c ON c.oid = objid, aclexplode(relacl)
WHERE classid = 'pg_class'::regclass AND grantee = 0 AND privilege_type <> 'SELECT'
ORDER BY objid::regclass::text;

-- Functions named other than pss_verb_noun: none outside the schema pss.
SELECT objid::regprocedure
FROM member JOIN pg_proc p ON p.oid = objid
WHERE classid = 'pg_proc'::regclass AND pronamespace <> 'pss'::regnamespace AND proname NOT LIKE 'pss\_%'
ORDER BY objid::regprocedure::text;

-- Nothing was put into a schema of the system.
SELECT (object).type, (object).identity
FROM member WHERE (object).schema IN ('pg_catalog', 'information_schema');

DROP EXTENSION pss;
SELECT count(*) FROM pg_namespace WHERE nspname = 'pss';
