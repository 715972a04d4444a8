"""SQL statements: queries, schema upgrades, and what differs between databases and between drivers."""
