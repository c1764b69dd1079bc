# For alembic/env.py of the legacy service: context.configure(…, include_object=include_object). Keeps autogenerate from dropping
# or changing what the hub has added to the import tables, and its own tables. HUB_SCHEMA: the value of FLOWHUB_PG_SCHEMA.

HUB_SCHEMA = "flowhub"
HUB_TABLES = {
    "account_usage", "ended_versions", "flow_events", "flow_outbox", "flows", "hub_locks", "hub_meta", "hub_tasks",
    "idempotency", "revocations", "schema_migrations",
}
HUB_INDEXES = {
    "data_imports_by_account", "data_imports_by_key", "data_imports_by_location", "data_imports_failed", "data_imports_open",
    "idx_raw_import_sample", "raw_import_records_in_order",
}
# Columns that the hub adds, and those whose type it widens or whose NOT NULL it drops.
HUB_COLUMNS = {
    "data_imports": {
        "account", "announced_at", "claim", "claimed_until", "encryption", "failure", "field_summary", "flow_id", "idempotency_key",
        "member_index", "request_hash", "storage_location", "storage_metadata", "storage_provider", "summary_text",
        "total_records", "updated_at", "client_account_id", "discovery_flow_id", "file_name", "source_type", "status",
    },
    "raw_import_records": {"client_account_id", "is_sample", "raw_data", "raw_text", "record_index"},
}


def include_object(object, name, type_, reflected, compare_to):
    if type_ == "table":
        # A table of the service's own may have the same name, if the hub has another schema.
        return object.schema != HUB_SCHEMA and not (reflected and compare_to is None and name in HUB_TABLES)
    if type_ == "index":
        return name not in HUB_INDEXES
    if type_ == "column" and (reflected or compare_to is not None):
        return name not in HUB_COLUMNS.get(object.table.name, ())
    return True
