#!/usr/bin/env bash
# Backs up the embedded store; the hub may run. BACKUP: the new directory. FLOWHUB_DATA: the data directory.
set -euo pipefail

flowhub backup "$BACKUP" --data "$FLOWHUB_DATA"
(cd "$BACKUP" && sha256sum --quiet --check SHA256SUMS)
