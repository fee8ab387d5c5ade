"""The only wiring: settings to clients to application objects, a module a concern."""
