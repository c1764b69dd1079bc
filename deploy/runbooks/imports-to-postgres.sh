#!/usr/bin/env bash
# Moves the records of imports from objects in R2 to rows of Postgres; the hub may run.
set -euo pipefail

flowhub imports move --to postgres
flowhub imports verify
