-- What every object of the extension owes its users, read from the system catalogs: a part that
-- is added without its comment or a pinned search_path is listed here. (That the library has each
-- function's symbol is what CREATE EXTENSION itself looks after.)
CREATE EXTENSION pss;

CREATE TEMP VIEW member AS
SELECT classid, objid, type, schema, identity
FROM pg_depend, pg_identify_object(classid, objid, 0)
WHERE refclassid = 'pg_extension'::regclass
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pss')
  AND deptype = 'e';

-- There are functions and relations at all, or the questions below would be void.
SELECT count(*) FILTER (WHERE classid = 'pg_proc'::regclass) > 5 AS has_functions,
       count(*) FILTER (WHERE classid = 'pg_class'::regclass) > 5 AS has_relations
FROM member;

-- Objects without a comment.
SELECT type, identity
FROM member
WHERE (classid = 'pg_proc'::regclass AND obj_description(objid, 'pg_proc') IS NULL)
   OR (classid = 'pg_class'::regclass AND obj_description(objid, 'pg_class') IS NULL
       AND type NOT IN ('index', 'sequence', 'toast table'))
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
SELECT type, identity
FROM member WHERE schema IN ('pg_catalog', 'information_schema');

DROP EXTENSION pss;
SELECT count(*) FROM pg_namespace WHERE nspname = 'pss';
