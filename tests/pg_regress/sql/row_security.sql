--
-- ROW SECURITY: policies hold through every door, or the door is closed
--
SET client_min_messages = warning;
CREATE EXTENSION pss;
DROP ROLE IF EXISTS regress_pss_alice, regress_pss_bob, regress_pss_admin;
CREATE ROLE regress_pss_alice;
CREATE ROLE regress_pss_bob;
CREATE ROLE regress_pss_admin BYPASSRLS;
CREATE TABLE t (k int NOT NULL, who name DEFAULT current_user, v text);
CREATE INDEX ON t (k);
SELECT count(*) FROM pss_distribute_table('t', 'k', 4);
GRANT SELECT, INSERT, UPDATE, DELETE ON t TO regress_pss_alice, regress_pss_bob, regress_pss_admin;
CREATE POLICY own ON t USING (who = current_user) WITH CHECK (who = current_user AND k > 0);
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
RESET client_min_messages;

-- the planner door: checks as on any table
SET ROLE regress_pss_alice;
INSERT INTO t (k, v) VALUES (1, 'mine'), (2, 'mine') RETURNING k, who, v;
INSERT INTO t (k, who) VALUES (1, 'regress_pss_bob');
INSERT INTO t (k) VALUES (-1);
INSERT INTO t (k, v) SELECT g, 'bulk' FROM generate_series(1, 10) AS g;
INSERT INTO t (k) SELECT g FROM generate_series(-1, 10) AS g;
PREPARE p(int) AS INSERT INTO t (k) VALUES ($1);
SET plan_cache_mode = force_generic_plan;
EXECUTE p(5);
EXECUTE p(-5);
RESET plan_cache_mode;
SELECT pss_locate('t', -1), pss_locate('t', -5);
RESET ROLE;
SET ROLE regress_pss_bob;
EXECUTE p(5);
SELECT count(*) FROM t;
INSERT INTO t (k, who, v) VALUES (1, 'regress_pss_alice', 'forged');
RESET ROLE;

-- the inbox cannot check policies: refused, by COPY and with pss.routing = trigger
SET ROLE regress_pss_alice;
SET pss.routing = trigger;
INSERT INTO t (k) VALUES (1);
INSERT INTO t (k, who) VALUES (1, 'regress_pss_bob');
RESET pss.routing;
-- Without data: releases of psql differ in what they do with that of a refused COPY.
\copy t (k) from /dev/null
RESET ROLE;

-- whom row security does not bind: the owner, unless forced, and BYPASSRLS
SET pss.routing = trigger;
INSERT INTO t (k, who) VALUES (-7, 'anybody');
SET ROLE regress_pss_admin;
INSERT INTO t (k, who) VALUES (-8, 'anybody');
RESET ROLE;
RESET pss.routing;
COPY t (k) FROM stdin;
-9
\.
SELECT k, who = 'anybody' AS anybody FROM t WHERE k < 0 ORDER BY k;
CREATE ROLE regress_pss_owner;
GRANT CREATE ON SCHEMA public TO regress_pss_owner;
ALTER TABLE t OWNER TO regress_pss_owner;
SET ROLE regress_pss_owner;
INSERT INTO t (k, who) VALUES (-10, 'anybody');
SET pss.routing = trigger;
INSERT INTO t (k, who) VALUES (-11, 'anybody');
RESET pss.routing;
ALTER TABLE t FORCE ROW LEVEL SECURITY;
INSERT INTO t (k, who) VALUES (-12, 'anybody');
SET pss.routing = trigger;
INSERT INTO t (k) VALUES (12);
RESET pss.routing;
ALTER TABLE t NO FORCE ROW LEVEL SECURITY;
RESET ROLE;
-- row_security = off: an error rather than a filtered answer
SET ROLE regress_pss_alice;
SET row_security = off;
INSERT INTO t (k) VALUES (1);
RESET row_security;
RESET ROLE;

-- a grant on the inbox is no way round the parent's policies
GRANT INSERT ON t_inbox TO regress_pss_alice;
SET ROLE regress_pss_alice;
INSERT INTO t_inbox (k, who) VALUES (-13, 'anybody');
RESET ROLE;
REVOKE INSERT ON t_inbox FROM regress_pss_alice;

-- what the functions tell does not depend on rows one may not see: a partition number only
SET ROLE regress_pss_bob;
SELECT pss_get_partition('t', 1) = pss_locate('t', 1) AS same;
RESET ROLE;

-- ON CONFLICT DO UPDATE under policies
SET client_min_messages = warning;
CREATE TABLE u (k int PRIMARY KEY, who name DEFAULT current_user, v text);
SELECT count(*) FROM pss_distribute_table('u', 'k', 4);
RESET client_min_messages;
GRANT SELECT, INSERT, UPDATE ON u TO regress_pss_alice, regress_pss_bob;
CREATE POLICY own ON u USING (who = current_user);
ALTER TABLE u ENABLE ROW LEVEL SECURITY;
SET ROLE regress_pss_alice;
INSERT INTO u (k, v) VALUES (1, 'a') ON CONFLICT (k) DO UPDATE SET v = excluded.v RETURNING v;
INSERT INTO u (k, v) VALUES (1, 'b') ON CONFLICT (k) DO UPDATE SET v = excluded.v RETURNING v;
RESET ROLE;
SET ROLE regress_pss_bob;
INSERT INTO u (k, v) VALUES (1, 'stolen') ON CONFLICT (k) DO UPDATE SET v = excluded.v;
INSERT INTO u (k, v) VALUES (1, 'none') ON CONFLICT (k) DO NOTHING;
RESET ROLE;
SELECT k, who, v FROM u;

SELECT count(*) AS misplaced FROM t WHERE pss_locate('t', k) IS DISTINCT FROM pss_partition;
DROP TABLE t, u;
REVOKE ALL ON SCHEMA public FROM regress_pss_owner;
DROP ROLE regress_pss_alice, regress_pss_bob, regress_pss_admin, regress_pss_owner;
