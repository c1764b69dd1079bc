#!/usr/bin/env bash
# Moves everything from SQLite to Postgres; the hub is stopped. OLD_ENV and NEW_ENV: files with the hub's present settings
# and those it will have. EXPORT: a directory with space for the whole store. May be interrupted and repeated.
set -euo pipefail

umask 077
(unset DATABASE_URL FLOWHUB_DATA; set -a; . "$OLD_ENV"; flowhub flows export --without-imports > "$EXPORT/flows.ndjson")
(unset DATABASE_URL FLOWHUB_DATA; set -a; . "$OLD_ENV"; flowhub imports export "$EXPORT/imports")
(unset DATABASE_URL FLOWHUB_DATA; set -a; . "$NEW_ENV"; flowhub migrate)
(unset DATABASE_URL FLOWHUB_DATA; set -a; . "$NEW_ENV"; flowhub flows import "$EXPORT/flows.ndjson")
(unset DATABASE_URL FLOWHUB_DATA; set -a; . "$NEW_ENV"; flowhub imports import "$EXPORT/imports")
(unset DATABASE_URL FLOWHUB_DATA; set -a; . "$NEW_ENV"; flowhub imports verify)
