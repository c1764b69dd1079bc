#!/usr/bin/env bash
# A tour of imports on real input, in one command: installs missing packages, builds the hub, starts Redis, Postgres, an S3 server and
# two hubs, imports Debian's package index through one hub while a browser watches through the other, and compares everything that it
# reads back with the source. Uses loopback, free ports and a temporary folder only, and stops everything that it started.
#
#   tour.sh [--screenshots FOLDER] [--keep]
#
#   --screenshots FOLDER   saves the browser's screenshots there: import-progress.png and import-stored.png
#   --keep                 keeps the folder with logs and data
#
# FLOWHUB_BINARY names a hub that is already built. Exit code: 0 if every check passed, 1 if not.
set -euo pipefail
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 64; }

screenshots="" keep="" is_through=""
while [ $# -gt 0 ]; do
    case $1 in
        --screenshots) [ -n "${2:-}" ] || usage; mkdir -p "$2"; screenshots=$(cd "$2" && pwd); shift ;;
        --keep) keep=1 ;;
        *) usage ;;
    esac
    shift
done
cd "$(dirname "$0")/../.."
tools=deploy/dev/tour
source $tools/steps.sh

# Ignore the caller's settings.
binary=${FLOWHUB_BINARY:-} test_tools=${FLOWHUB_TEST_TOOLS:-$HOME/.cache/flowhub-tests}
unset "${!FLOWHUB_@}" "${!R2_@}" "${!REDIS_@}" "${!UPSTASH_@}" PORT
python=$test_tools/bin/python
s3_server() { FLOWHUB_TEST_TOOLS=$test_tools deploy/dev/s3server.sh "$@"; }

folder=$(mktemp -d "${TMPDIR:-/tmp}/flowhub-tour.XXXXXX")
finish() {
    local status=$? pid
    trap '' INT TERM
    trap - EXIT
    # In reverse order of start: the hubs before their backends.
    for ((at = ${#pids[@]} - 1; at >= 0; at--)); do
        pid=${pids[$at]}
        if [ "$pid" = "${postgres:-}" ]; then end_process "$pid" INT; else end_process "$pid"; fi
    done
    [ ! -d "$folder/s3/run" ] || s3_server stop "$folder/s3"
    [ -n "$is_through" ] || echo "The tour stopped early (exit code $status)." >&2
    if [ -n "$keep" ]; then echo "Kept the folder: $folder"; else rm -rf "$folder"; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

echo "FlowHub: imports on real input"

step "Install missing packages (.ci/install)"
FLOWHUB_TEST_TOOLS=$test_tools .ci/install || die "Installation failed."

step "Build the hub"
if [ -n "$binary" ]; then
    hub=$(readlink -f "$binary")
    [ -x "$hub" ] || die "FLOWHUB_BINARY is not executable: $binary"
else
    build=(swift build -c release --static-swift-stdlib --product flowhub)
    "${build[@]}" >"$folder/build.log" 2>&1 || { tail -n 30 "$folder/build.log"; die "The build failed."; }
    hub=$("${build[@]}" --show-bin-path)/flowhub
fi
say "$hub"

step "Start Postgres, Redis and the S3 server, and create a bucket"
free_port() { "$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
as=()
if [ "$(id -u)" -eq 0 ]; then
    # Postgres does not run as root.
    chmod 711 "$folder"
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups env "HOME=$folder/postgres")
fi
mkdir "$folder/postgres"
[ "$(id -u)" -ne 0 ] || chown postgres "$folder/postgres"
"${as[@]}" "$bin/initdb" -U flowhub --auth=trust --encoding=UTF8 --no-sync -D "$folder/postgres/data" >"$folder/initdb.log" 2>&1 \
    || { cat "$folder/initdb.log"; die "initdb failed."; }
postgres_port=$(free_port)
start "$folder/postgres.log" "${as[@]}" "$bin/postgres" -D "$folder/postgres/data" -c port="$postgres_port" -c listen_addresses=127.0.0.1 \
    -c unix_socket_directories=
postgres=$started
redis_port=$(free_port)
start "$folder/redis.log" redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$folder" --save "" --appendonly no
s3=$(s3_server start "$folder/s3")
await "Postgres" 30 "$bin/pg_isready" -q -h 127.0.0.1 -p "$postgres_port" -U flowhub -d postgres
await "Redis" 30 redis-cli -p "$redis_port" ping
database=postgres://flowhub@127.0.0.1:$postgres_port/hub
"$bin/psql" -X -q -d "${database%/hub}/postgres" -c 'CREATE DATABASE hub'
export DATABASE_URL=$database REDIS_URL=redis://127.0.0.1:$redis_port FLOWHUB_DRAIN_SECONDS=1
# On loopback an import takes about one second: publish progress more often.
export FLOWHUB_IMPORT_PROGRESS_MS=50
export R2_ENDPOINT R2_ACCESS_KEY_ID R2_SECRET_ACCESS_KEY R2_BUCKET_NAME=tour
R2_ENDPOINT=$(sed -n 's/.*endpoint=\([^ ]*\).*/\1/p' <<<"$s3")
R2_ACCESS_KEY_ID=$(sed -n 's/.*access_key=\([^ ]*\).*/\1/p' <<<"$s3")
R2_SECRET_ACCESS_KEY=$(sed -n 's/.*secret_key=\([^ ]*\).*/\1/p' <<<"$s3")
bucket() { "$python" $tools/bucket.py "$@"; }
bucket create
say "Postgres on port $postgres_port, Redis on port $redis_port, S3 at $R2_ENDPOINT with the bucket $R2_BUCKET_NAME"
rows() { "$bin/psql" -X -A -t -d "$database" -c "$1"; }

step "Start two hubs on them, A and B"
serve() { # name
    local port
    port=$(free_port)
    start "$folder/$1.log" "$hub" serve --port "$port" --data "$folder/$1"
    url=http://127.0.0.1:$port
    await "Hub $1" 60 curl -sf "$url/health/ready?strict=1"
}
serve a; a=$url a_pid=$started
serve b; b=$url b_pid=$started
say "A is $a, B is $b"
json() { "$python" $tools/agree.py member "$@"; }
for each in a b; do
    curl -s "${!each}/health/storage" >"$folder/health.json"
    check "/health/storage of ${each^^}" healthy "$(json "$folder/health.json" overall)"
done

step "Create the data: Debian's package index as NDJSON and CSV"
deploy/dev/packages.sh "$folder/data" | sed 's/^/       /'
ndjson=$folder/data/packages.ndjson csv=$folder/data/packages.csv
count=$(wc -l <"$ndjson")
ndjson_hash=$(sha256sum <"$ndjson" | cut -d' ' -f1)
[ "$count" -ge 30000 ] || die "apt lists $count packages; the tour needs 30,000. Check that /etc/apt/sources.list has Debian's main."

step "Watch the flow 'packages' through B, in a browser and in the terminal"
"$hub" state patch packages '{"status":"running","source":"Debian package index"}' --url "$a" >"$folder/state.json" 2>&1
start "$folder/browser.out" "$python" $tools/browser.py "$b/#flow=packages" "$folder" 2
browser=$started
start "$folder/watch.ndjson" "$hub" watch packages --url "$b" --json
watcher=$started
is_live() { kill -0 "$browser" && grep -q '^live' "$folder/browser.out" && grep -q caught_up "$folder/watch.ndjson"; }
await "The browser's stream" 60 is_live
say "Chromium and flowhub watch are connected"

step "Import both files through A"
put() { # file, name of the output
    local from=$EPOCHREALTIME
    "$hub" import put "$1" --flow packages --source-type debian --url "$a" --no-progress --json >"$folder/$2.json" || die "The import of $1 failed."
    eval "$2_seconds=$(awk -v now="$EPOCHREALTIME" -v then="$from" 'BEGIN { printf "%.3f", now - then }')"
    say "$(basename "$1") is import $(json "$folder/$2.json" id)"
}
put "$ndjson" first
put "$csv" second
first=$(json "$folder/first.json" id) second=$(json "$folder/second.json" id)
object_hash=$(json "$folder/first.json" storage_metadata.data_hash)

step "Compare what B sent to the watchers"
have_stored() { [ "$(grep -c '^{"event":"import_stored"' "$folder/watch.ndjson")" -ge 2 ]; }
await "import_stored at B" 30 have_stored
await "The result of the browser" 60 grep -q '^{' "$folder/browser.out"
wait "$browser" || true
end_process "$watcher"
grep '^{' "$folder/browser.out" >"$folder/browser.json"
progress=$(grep -c '^{"event":"import_progress"' "$folder/watch.ndjson" || true)
check "import_stored events in the terminal" 2 "$(grep -c '^{"event":"import_stored"' "$folder/watch.ndjson")"
check_that "$progress import_progress events in the terminal, more than 2 expected" "$progress > 2"
check "imports that the page shows as completed" 2 "$(json "$folder/browser.json" completed)"
check "states that the page showed for the first import, in order" '["running", "completed"]' "$(json "$folder/browser.json" "imports.$first.kinds")"
check "state in the screenshot taken during the import" running "$(json "$folder/browser.json" during)"
check "errors in the browser" '[]' "$(json "$folder/browser.json" complaints)"
say "Percentages that the progress bar showed: $(json "$folder/browser.json" "imports.$first.percents")"
say "Text on the page: $(json "$folder/browser.json" text)"
if [ -n "$screenshots" ]; then
    cp "$folder/during.png" "$screenshots/import-progress.png"
    cp "$folder/after.png" "$screenshots/import-stored.png"
    say "Saved screenshots in $screenshots"
fi

step "Compare the NDJSON with its source, read through B"
hash_of() { sha256sum | cut -d' ' -f1; }
answer() { curl -sf "$b/v1/imports/$1"; }
# The expected response for these lines of the source, byte for byte.
expected_page() { # first line, last line, remaining members
    printf '{"records":['
    sed -n "$1,$2p;$2q" "$ndjson" | paste -s -d, | tr -d '\n'
    printf ']%s}' "$3"
}
answer "$first" >"$folder/entry.json"
check "status" stored "$(json "$folder/entry.json" status)"
check "total_records" "$count" "$(json "$folder/entry.json" total_records)"
check "storage_provider" r2 "$(json "$folder/entry.json" storage_provider)"
check "content_hash is that of the source" "$ndjson_hash" "$(json "$folder/entry.json" storage_metadata.content_hash)"
check "sample, the first 100 records" "$(expected_page 1 100 '' | hash_of)" "$(answer "$first/sample" | hash_of)"
for offset in 0 999 $((count / 2)) $((count * 9 / 10)) $((count - 7)); do
    last=$((offset + 100 < count ? offset + 100 : count))
    check "records from $offset on" "$(expected_page $((offset + 1)) $last ",\"offset\":$offset,\"total_records\":$count" | hash_of)" \
        "$(answer "$first/records?offset=$offset&limit=100" | hash_of)"
done
link() { curl -s -o "$folder/link.body" -w '%{http_code} %{redirect_url}' "$b/v1/imports/$1/download"; }
read -r status url <<<"$(link "$first")"
check "status of download" 302 "$status"
curl -sf -o "$folder/object.gz" "$url" || die "The download link does not work."
check "data_hash is that of the object at the download link" "$object_hash" "$(hash_of <"$folder/object.gz")"
check "size_bytes" "$(stat -c %s "$folder/object.gz")" "$(json "$folder/entry.json" storage_metadata.size_bytes)"
check "the object, read with gunzip and sed" "$ndjson_hash" "$(gunzip -c "$folder/object.gz" | sed '1d;$d;s/,$//' | hash_of)"
check "all records, written by flowhub import get" "$ndjson_hash" "$("$hub" import get "$first" --ndjson --url "$b" --no-progress 2>/dev/null | hash_of)"

step "Compare the CSV with the same source"
answer "$second" >"$folder/entry.json"
check "total_records" "$count" "$(json "$folder/entry.json" total_records)"
"$hub" import get "$second" --ndjson --url "$b" --no-progress -o "$folder/second.ndjson" 2>/dev/null
check "records with the values of the source" "$count" "$("$python" $tools/agree.py csv "$ndjson" "$folder/second.ndjson")"

step "Compare the schema with the source"
head -n 5000 "$ndjson" >"$folder/data/few.ndjson"
put "$folder/data/few.ndjson" third
third=$(json "$folder/third.json" id)
for each in "$third few.ndjson" "$first packages.ndjson"; do
    read -r id name <<<"$each"
    answer "$id/schema" >"$folder/schema.json"
    while IFS=$'\t' read -r tolerance what expected found; do
        check_near "$what" "$tolerance" "$expected" "$found"
    done < <("$python" $tools/agree.py schema "$folder/data/$name" "$folder/schema.json")
done

step "Move all imports to Postgres, read them, and move them back to R2"
# Checks both imports, wherever they are stored.
compare_whole() { # expected provider
    answer "$first" >"$folder/entry.json"
    check "storage_provider of the NDJSON" "$1" "$(json "$folder/entry.json" storage_provider)"
    check "total_records of the NDJSON" "$count" "$(json "$folder/entry.json" total_records)"
    check "content_hash of the NDJSON" "$ndjson_hash" "$(json "$folder/entry.json" storage_metadata.content_hash)"
    check "hash of its records as read" "$ndjson_hash" "$("$hub" import get "$first" --ndjson --url "$b" --no-progress 2>/dev/null | hash_of)"
    check "hash of the CSV's records as read" "$(hash_of <"$folder/second.ndjson")" \
        "$("$hub" import get "$second" --ndjson --url "$a" --no-progress 2>/dev/null | hash_of)"
}
move() { # target
    local from=$EPOCHREALTIME
    "$hub" imports move --to "$1" --no-progress >"$folder/move.out" 2>&1 || { cat "$folder/move.out"; die "The move failed."; }
    eval "to_$1_seconds=$(awk -v now="$EPOCHREALTIME" -v then="$from" 'BEGIN { printf "%.3f", now - then }')"
    sed 's/^/       /' "$folder/move.out"
}
move postgres
compare_whole postgres
check "rows in Postgres" $((2 * count + 5000)) "$(rows 'SELECT count(*) FROM raw_import_records')"
check "objects in the bucket" 0 "$(bucket keys | wc -l)"
read -r status url <<<"$(link "$first")"
check "status of download; rows have no download link" 409 "$status"
move r2
compare_whole r2
check "rows in Postgres, samples only" 30 "$(rows 'SELECT count(*) FROM raw_import_records')"
check "objects in the bucket" 3 "$(bucket keys | wc -l)"
read -r status url <<<"$(link "$first")"
check "data_hash of the NDJSON" "$(json "$folder/entry.json" storage_metadata.data_hash)" "$(curl -sf "$url" | hash_of)"

step "Verify and sweep"
from=$EPOCHREALTIME
check "result of verify" "3 imports read, 0 of them damaged." "$("$hub" imports verify --no-progress 2>&1 | tail -n 1)"
verify_seconds=$(seconds_since "$from")
check "result of sweep" "0 interrupted imports cleaned up, 0 objects and 0 uploads removed, 0 objects missing." \
    "$("$hub" imports sweep --older-than 0s 2>&1 | tail -n 1)"

step "Measure durations"
resident() { sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"; }
page_seconds=$(curl -sf -o "$folder/page.json" -w '%{time_total}' "$b/v1/imports/$first/records?offset=$((count * 9 / 10))&limit=100")
whole_seconds=$(curl -sf -o "$folder/whole.json" -w '%{time_total}' "$b/v1/imports/$first/data")
figures() { # operation, seconds, bytes, records
    awk -v what="$1" -v seconds="$2" -v bytes="$3" -v records="$4" 'BEGIN {
        printf "       %-34s %7.2f s %8.1f MB/s %9d records/s\n", what, seconds, bytes / seconds / 1e6, records / seconds
    }'
}
ndjson_size=$(stat -c %s "$ndjson") csv_size=$(stat -c %s "$csv")
both=$((ndjson_size + $(stat -c %s "$folder/second.ndjson")))
figures "import of the NDJSON" "$first_seconds" "$ndjson_size" "$count"
figures "import of the CSV" "$second_seconds" "$csv_size" "$count"
figures "read of the whole NDJSON" "$whole_seconds" "$ndjson_size" "$count"
figures "read of 100 records at 90%" "$page_seconds" "$(stat -c %s "$folder/page.json")" 100
figures "move to Postgres, verified" "$to_postgres_seconds" "$both" $((2 * count + 5000))
figures "move to R2, verified" "$to_r2_seconds" "$both" $((2 * count + 5000))
figures "verify" "$verify_seconds" "$both" $((2 * count + 5000))
say "Object of the NDJSON: $(stat -c %s "$folder/object.gz") of $ndjson_size bytes."
say "Peak memory of A: $(($(resident "$a_pid") / 1024)) MiB, B: $(($(resident "$b_pid") / 1024)) MiB"

step "Delete all imports"
"$hub" import rm --yes --url "$b" "$first" "$second" "$third" | sed 's/^/       /'
check "objects in the bucket" 0 "$(bucket keys | wc -l)"
check "unfinished uploads in the bucket" 0 "$(bucket uploads | wc -l)"
check "rows of imports" 0 "$(rows "SELECT count(*) FROM data_imports")"
check "rows of records" 0 "$(rows 'SELECT count(*) FROM raw_import_records')"
check "cached samples and analyses in Redis" 0 "$(redis-cli -p "$redis_port" --raw keys '*' | grep -cE '^(import:sample|schema:analysis):' || true)"
check "status of a deleted import" 404 "$(curl -s -o "$folder/gone.json" -w '%{http_code}' "$a/v1/imports/$first")"
step_ended

is_through=1
echo
echo "$checks checks, $disagreements failed; $(seconds_since "$began") s"
[ "$disagreements" -eq 0 ]
