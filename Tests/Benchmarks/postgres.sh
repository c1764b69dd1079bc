#!/usr/bin/env bash
# Compares the hub on Postgres with pgbench on the same server in one run. pgbench: one update by key and one insert per
# transaction. Hub: acknowledged state updates through HTTP. Both with full durability (the server's defaults).
#
#   Tests/Benchmarks/postgres.sh [path of a release build of flowhub]
#
# Needs Debian's postgresql (15 or later) and wrk and, if run as root, setpriv. Uses loopback only and takes about two minutes.
# SECONDS_EACH (10), ROUNDS (3) and FLOWS (1000) set the size.
set -euo pipefail
cd "$(dirname "$0")/../.."
hub=${1:-.build/release/flowhub}
seconds=${SECONDS_EACH:-10}
rounds=${ROUNDS:-3}
flows=${FLOWS:-1000}
port=25432
hub_port=18081
bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
folder=$(mktemp -d)
as=()
if [ "$(id -u)" -eq 0 ]; then
    chown postgres "$folder"
    as=(setpriv --reuid=postgres --regid=postgres --clear-groups env "HOME=$folder")
fi
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

"${as[@]}" "$bin/initdb" -U flowhub --auth=trust --encoding=UTF8 -D "$folder/db" >/dev/null
"${as[@]}" "$bin/postgres" -D "$folder/db" -c port=$port -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c shared_buffers=512MB -c max_wal_size=4GB >"$folder/db.log" 2>&1 & pids+=($!)
url=postgres://flowhub@127.0.0.1:$port
until "$bin/pg_isready" -q -h 127.0.0.1 -p $port; do sleep 0.1; done
psql() { "$bin/psql" -X -q -v ON_ERROR_STOP=1 "$@"; }
psql -d $url/postgres -c 'CREATE DATABASE hub' -c 'CREATE DATABASE plain'
psql -d $url/plain -c "
    CREATE TABLE flows (id int PRIMARY KEY, version bigint NOT NULL, state text NOT NULL) WITH (fillfactor = 70);
    CREATE TABLE events (flow_id int, version bigint, payload text, created_at timestamptz DEFAULT now());
    INSERT INTO flows SELECT i, 0, repeat('x', 200) FROM generate_series(1, $flows) i;"
cat >"$folder/update.sql" <<SQL
\\set id random(1, $flows)
BEGIN;
UPDATE flows SET version = version + 1, state = repeat('y', 200) WHERE id = :id;
INSERT INTO events (flow_id, version, payload) VALUES (:id, 1, repeat('z', 200));
COMMIT;
SQL
pgbench() { "$bin/pgbench" -n -M prepared -T "$seconds" -f "$folder/update.sql" "$@" $url/plain 2>/dev/null | grep -E '^(tps|latency average)'; }

DATABASE_URL=$url/hub "$hub" serve --port $hub_port 2>"$folder/hub.log" & hub_pid=$!; pids+=($hub_pid)
until grep -q Listening "$folder/hub.log"; do sleep 0.1; done

export FLOWS=$flows
for round in $(seq "$rounds"); do
    echo "== round $round: pgbench, 16 clients"
    pgbench -c 16 -j 2
    echo "== round $round: pgbench, 64 clients"
    pgbench -c 64 -j 2
    echo "== round $round: hub, 64 publishers over $flows flows"
    wrk -t 1 -c 64 -d "$seconds" -s Tests/Benchmarks/patch.lua http://127.0.0.1:$hub_port | grep acknowledged
done
echo "== the same with flowhub bench as the client"
"$hub" bench updates --url http://127.0.0.1:$hub_port --publishers 64 --flows "$flows" --duration "$seconds" --keep \
    --prefix bench- --server-pid "$hub_pid"
echo "== cached reads (GET state, keep-alive), hub on one core, client on the other"
taskset -acp 0 "$hub_pid" >/dev/null
taskset -c 1 wrk -t 1 -c 32 -d "$seconds" "http://127.0.0.1:$hub_port/v1/flows/bench-1/state" | grep -E 'Requests/sec|Latency'
taskset -acp 0-1 "$hub_pid" >/dev/null

# The version sweep alone delivers the commits of the other instance.
DATABASE_URL=$url/hub "$hub" serve --port $((hub_port + 1)) 2>"$folder/hub2.log" & pids+=($!)
until grep -q Listening "$folder/hub2.log"; do sleep 0.1; done
for watched in 1 100 1000 10000; do
    echo "== sweep: published at one instance, $watched watched flows at the other"
    "$hub" bench stream --url http://127.0.0.1:$((hub_port + 1)) --publish-url http://127.0.0.1:$hub_port --durable --rate 100 \
        --subscribers $watched --flows $watched --duration "$seconds" --keep | grep -E 'latency (p50|p90|p99 |max)|lost'
done
