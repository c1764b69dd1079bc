#!/usr/bin/env bash
# Moves the records of imports from rows of Postgres to objects in R2; the hub may run.
set -euo pipefail

flowhub imports move --to r2
flowhub imports verify
psql "$DATABASE_URL" --command='VACUUM (ANALYZE) raw_import_records'
