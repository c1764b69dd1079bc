#!/usr/bin/env bash
# Restores a backup of the embedded store; the hub is stopped. BACKUP: the backup. FLOWHUB_DATA: the data directory.
set -euo pipefail

mv --no-target-directory "$FLOWHUB_DATA" "$FLOWHUB_DATA.old"
flowhub restore "$BACKUP" --data "$FLOWHUB_DATA"
flowhub imports verify --data "$FLOWHUB_DATA"
