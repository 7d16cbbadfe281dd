--
-- TYPES, COLLATION: values that are equal under a nondeterministic collation would have
-- different homes. (A server built without ICU has no such collation: types_collation_1.out.)
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE tc (k text COLLATE loose NOT NULL);
SELECT pss_distribute_table('tc', 'k');
