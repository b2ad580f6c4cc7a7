"""PostgreSQL: one database a service, its transactions, migrations, bulk reads and writes, and the embedded server."""
