-- The settings: their kind, unit, range and context, and what happens to nonsense.
CREATE EXTENSION pss;

SELECT name, vartype, unit, context, boot_val, min_val, max_val
FROM pg_settings WHERE name LIKE 'pss.%' ORDER BY name COLLATE "C";

-- Every one says what it is for.
SELECT name FROM pg_settings
WHERE name LIKE 'pss.%' AND (short_desc = '' OR short_desc IS NULL) ORDER BY name COLLATE "C";

SELECT name, enumvals FROM pg_settings WHERE name LIKE 'pss.%' AND vartype = 'enum' ORDER BY name;

-- The session's own.
SET pss.routing = trigger;
SHOW pss.routing;
SET pss.routing = nonsense;
RESET pss.routing;
SET pss.max_map_size = '2GB';
SHOW pss.max_map_size;
-- (Majors word it differently.)
\set VERBOSITY sqlstate
SET pss.max_map_size = '1kB';
\set VERBOSITY default

-- The worker's: only from the configuration file.
SET pss.sample_interval = '1s';
SET pss.enabled = off;
SET pss.max_workers = 8;

-- The prefix is reserved: a misspelt setting is an error.
SET pss.sample_intervall = '1s';
