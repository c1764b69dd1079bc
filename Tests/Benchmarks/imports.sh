#!/usr/bin/env bash
# Compares imports with the legacy service's method (imports_baseline.py): same data, same S3 server, alternating.
#   Tests/Benchmarks/imports.sh FLOWHUB [MiB ...]        a release build; data sizes, default: 35 512 1024
# Needs what `.ci/install` installs. Uses loopback only and stops all its processes at the end. ROUNDS (3) sets the rounds per size.
set -euo pipefail
cd "$(dirname "$0")/../.."
flowhub=$(realpath "$1"); shift
sizes=("${@:-35}"); [ "$#" -gt 0 ] || sizes=(35 512 1024)
rounds=${ROUNDS:-3}
tools=${FLOWHUB_TEST_TOOLS:-$HOME/.cache/flowhub-tests}
work=$(mktemp -d)
hub=""
finish() {
    if [ -n "$hub" ]; then kill "$hub" 2>/dev/null || true; wait "$hub" 2>/dev/null || true; fi
    deploy/dev/s3server.sh stop "$work/s3" >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap finish EXIT

deploy/dev/packages.sh "$work/data" >/dev/null
mkdir -p "$work/s3"
line=$(deploy/dev/s3server.sh start "$work/s3" | grep endpoint=)
endpoint=${line#*endpoint=}
endpoint=${endpoint%% *}
"$tools/bin/python3" - "$endpoint" <<'P'
import sys, boto3
boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="hub:writer", aws_secret_access_key="secretkey", region_name="auto").create_bucket(Bucket="bench")
P
hub_port=26480
PORT=$hub_port FLOWHUB_DATA="$work/hub" R2_ENDPOINT=$endpoint R2_BUCKET_NAME=bench R2_ACCESS_KEY_ID=hub:writer \
    R2_SECRET_ACCESS_KEY=secretkey FLOWHUB_LOG_LEVEL=error "$flowhub" serve 2>"$work/hub.log" &
hub=$!
url=http://127.0.0.1:$hub_port
for _ in $(seq 100); do curl -sf "$url/health/live" >/dev/null && break; sleep 0.1; done
peak() { awk '/^VmHWM/ {print int($2 / 1024)}' "/proc/$hub/status"; }
forget() { echo 5 >"/proc/$hub/clear_refs" 2>/dev/null || true; }

for size in "${sizes[@]}"; do
    # Repeat the records up to the size.
    file=$work/$size.ndjson
    : >"$file"
    while [ "$(stat -c %s "$file")" -lt $((size << 20)) ]; do cat "$work/data/packages.ndjson" >>"$file"; done
    truncate -s $((size << 20)) "$file"
    # Remove the last record, which truncate has cut.
    sed -i '$d' "$file"
    records=$(wc -l <"$file")
    for round in $(seq "$rounds"); do
        read -r seconds rate bytes memory < <("$tools/bin/python3" Tests/Benchmarks/imports_baseline.py "$file" "$endpoint" bench)
        forget
        took=$(curl -sS -o "$work/answer" -w '%{time_total}' -T "$file" -X POST -H 'Content-Type: application/x-ndjson' "$url/v1/imports")
        id=$(grep -o '"id":"[^"]*"' "$work/answer" | head -1 | cut -d'"' -f4)
        packed=$(grep -o '"size_bytes":[0-9]*' "$work/answer" | cut -d: -f2)
        upload_peak=$(peak)
        forget
        whole=$(curl -sS -o /dev/null -w '%{time_total}' "$url/v1/imports/$id/data")
        part=$(curl -sS -o /dev/null -w '%{time_total}' "$url/v1/imports/$id/records?offset=$((records * 9 / 10))&limit=100")
        schema=$(curl -sS -o /dev/null -w '%{time_total}' "$url/v1/imports/$id/schema")
        awk -v s="$size" -v n="$records" -v ps="$seconds" -v pb="$bytes" -v pm="$memory" -v hs="$took" -v hb="$packed" \
            -v hm="$upload_peak" -v dm="$(peak)" -v w="$whole" -v p="$part" -v a="$schema" 'BEGIN {
            printf "%5d MiB %8d records | python %8.0f/s %6d MiB | hub %8.0f/s %4d MiB | %.1f x faster, 1/%.0f memory, %.3f x size",
                s, n, n / ps, pm, n / hs, hm, ps / hs, pm / hm, hb / pb
            printf " | read whole %.2f s (%d MiB), 100 records at 90%% %.1f ms (%.2f%%), schema %.0f ms\n", w, dm, p * 1000, 100 * p / w, a * 1000 }'
        curl -sS -X DELETE "$url/v1/imports/$id"
    done
    rm -f "$file"
done
