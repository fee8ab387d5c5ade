"""What takes events in from outside: accept, verify, parse, append, then acknowledge."""
