#!/usr/bin/env bash
# Compares imports with and without encryption (FLOWHUB_IMPORT_KEYS): two hubs with folders, the same data, alternating.
#   Tests/Benchmarks/import_keys.sh FLOWHUB [MiB]        a release build; size of the data, default: 128
# Prints for each round the hub's CPU time and the duration of an upload and of a read of the whole data, in seconds. Uses loopback
# only. ROUNDS (4) sets the rounds.
set -euo pipefail
cd "$(dirname "$0")/../.."
flowhub=$(realpath "$1")
size=${2:-128}
work=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

deploy/dev/packages.sh "$work/data" >/dev/null
while [ "$(stat -c %s "$work/all" 2>/dev/null || echo 0)" -lt $((size << 20)) ]; do cat "$work/data/packages.ndjson" >>"$work/all"; done
truncate -s $((size << 20)) "$work/all"
sed -i '$d' "$work/all"
umask 077
echo "bench $(openssl rand -base64 32)" >"$work/keys"

start() { # name, port, settings
    env PORT="$2" FLOWHUB_DATA="$work/$1" FLOWHUB_LOG_LEVEL=error "${@:3}" "$flowhub" serve 2>"$work/$1.log" &
    pids+=($!)
    for _ in $(seq 100); do curl -sf "http://127.0.0.1:$2/health/live" >/dev/null && return; sleep 0.1; done
    cat "$work/$1.log"; exit 1
}
start plain 26481 A=1
start encrypted 26482 FLOWHUB_IMPORT_KEYS="$work/keys"

ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
for round in $(seq "${ROUNDS:-4}"); do
    for hub in 0 1; do
        pid=${pids[$hub]} url=http://127.0.0.1:$((26481 + hub))
        before=$(ticks "$pid")
        took=$(curl -sS -o "$work/answer" -w '%{time_total}' -T "$work/all" -X POST -H 'Content-Type: application/x-ndjson' "$url/v1/imports")
        stored=$(ticks "$pid")
        id=$(grep -o '"id":"[^"]*"' "$work/answer" | head -1 | cut -d'"' -f4)
        read=$(curl -sS -o /dev/null -w '%{time_total}' "$url/v1/imports/$id/data")
        after=$(ticks "$pid")
        curl -sS -X DELETE "$url/v1/imports/$id" >/dev/null
        awk -v r="$round" -v h="$hub" -v a="$before" -v b="$stored" -v c="$after" -v t="$took" -v d="$read" 'BEGIN {
            printf "round %d %-9s | upload %5.2f s CPU %5.2f s | read %5.2f s CPU %5.2f s\n", r, h ? "encrypted" : "plain",
                (b - a) / 100, t, (c - b) / 100, d }'
    done
done
