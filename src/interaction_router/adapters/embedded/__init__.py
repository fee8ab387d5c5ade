"""The log and the tables in one SQLite file, or in memory: the whole program in one process, without a server."""
