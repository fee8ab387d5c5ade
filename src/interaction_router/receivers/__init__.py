"""Where events come in from outside: accept, verify, read, store, and only then acknowledge."""
