#!/usr/bin/env bash
# Restores a dump into the new database hub_new; the hub may run on the old one. BACKUP: the dump. RESTORED_URL: the new
# database as the hub's user. PGHOST, PGPORT and PGUSER: the server and an administrator.
set -euo pipefail

createdb --owner=hub hub_new
pg_restore --dbname=hub_new --exit-on-error "$BACKUP"
DATABASE_URL=$RESTORED_URL flowhub migrate
DATABASE_URL=$RESTORED_URL flowhub epoch bump
