"""The service that FlowHub replaces, written anew for tests: the same keys, columns, objects and order of steps.

Tests run it as a process of its own (``LegacyService.swift``) beside real hubs, on the same Redis, Postgres and S3 server.
"""
