#!/usr/bin/env bash
# Backs up the hub's Postgres database; the hub may run. BACKUP: the new file. DATABASE_URL: the database.
set -euo pipefail

umask 077
pg_dump --format=custom --file="$BACKUP.partial" "$DATABASE_URL"
pg_restore --list "$BACKUP.partial" > /dev/null
mv "$BACKUP.partial" "$BACKUP"
