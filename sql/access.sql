-- Who may see what. Functions state their own rights beside their definition.

-- Routing metadata: every inserter's session reads it.
GRANT USAGE ON SCHEMA pss TO PUBLIC;
GRANT SELECT ON pss.node, pss.sharded_table, pss.partition, pss.map_state, pss.epoch TO PUBLIC;

-- Observations: monitoring roles; table owners see theirs through the views.
GRANT SELECT ON pss.sample, pss.outlook, pss.forecast, pss.forecast_model, pss.score, pss.event, pss.move, pss.map_cleaning TO pg_monitor;
