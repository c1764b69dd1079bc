#!/usr/bin/env bash
# Replaces the hub's R2 keys while it runs. NEW_CREDENTIALS: a file with the new keys, on the same file system as
# FLOWHUB_R2_CREDENTIALS.
set -euo pipefail

chown --reference="$FLOWHUB_R2_CREDENTIALS" "$NEW_CREDENTIALS"
chmod --reference="$FLOWHUB_R2_CREDENTIALS" "$NEW_CREDENTIALS"
mv "$NEW_CREDENTIALS" "$FLOWHUB_R2_CREDENTIALS"
