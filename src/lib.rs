//! pss: predictive sharding for PostgreSQL.
::pgrx::pg_module_magic!(name, version);
