#!/usr/bin/env bash
# Measures two instances with Redis between them, in one run: the cost of a delivery at the other instance compared with a local one,
# the same for nchan on the same Redis, and how many messages per second one instance receives from Redis.
#
#   Tests/Benchmarks/redis.sh [path of a release build of flowhub]
#
# Needs two processors, a C compiler and Debian's redis-server, postgresql, nginx and libnginx-mod-nchan and, if run as root, setpriv.
# Uses loopback only and takes about three minutes. SECONDS_EACH (8) and ROUNDS (3) set the size.
set -euo pipefail
cd "$(dirname "$0")/../.."
hub=${1:-.build/release/flowhub}
seconds=${SECONDS_EACH:-8}
rounds=${ROUNDS:-3}
redis_port=26399
pg_port=25439
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
ulimit -n "$(ulimit -Hn)"
cc -O2 -o "$folder/sseload" Tests/Benchmarks/sseload.c

"${as[@]}" "$bin/initdb" -U flowhub --auth=trust --encoding=UTF8 -D "$folder/db" >/dev/null
"${as[@]}" "$bin/postgres" -D "$folder/db" -c port=$pg_port -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    >"$folder/db.log" 2>&1 & pids+=($!)
until "$bin/pg_isready" -q -h 127.0.0.1 -p $pg_port; do sleep 0.1; done
"$bin/psql" -X -q -d postgres://flowhub@127.0.0.1:$pg_port/postgres -c 'CREATE DATABASE hub'
taskset -c 1 redis-server --port $redis_port --bind 127.0.0.1 --save "" --appendonly no >"$folder/redis.log" & pids+=($!)
export DATABASE_URL=postgres://flowhub@127.0.0.1:$pg_port/hub REDIS_URL=redis://127.0.0.1:$redis_port
serve() { # name port processor
    taskset -c "$3" "$hub" serve --port "$2" 2>"$folder/$1.log" & pids+=($!)
    until curl -sf "http://127.0.0.1:$2/health/ready?strict=1" >/dev/null; do sleep 0.1; done
}
serve a 18191 1
serve b 18192 0
b_pid=${pids[-1]}

nginx_conf() { # name port
    cat >"$folder/$1.conf" <<CONF
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
worker_processes 1; daemon off; pid $folder/$1.pid; error_log $folder/$1.error warn;
events { worker_connections 4000; use epoll; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; nchan_shared_memory_size 64M;
  upstream redis { nchan_redis_server redis://127.0.0.1:$redis_port; }
  server {
    listen 127.0.0.1:$2;
    location ~ ^/sub/(.+)\$ { nchan_subscriber eventsource; nchan_channel_id \$1; nchan_redis_pass redis; nchan_subscriber_first_message newest; }
    location ~ ^/pub/(.+)\$ { nchan_publisher; nchan_channel_id \$1; nchan_redis_pass redis; nchan_message_buffer_length 20; }
  }
}
CONF
}
nginx_conf na 18193
nginx_conf nb 18194
taskset -c 1 nginx -c "$folder/na.conf" 2>/dev/null & pids+=($!)
taskset -c 0 nginx -c "$folder/nb.conf" 2>/dev/null & pids+=($!)
until [ -f "$folder/na.pid" ] && [ -f "$folder/nb.pid" ]; do sleep 0.1; done
nb_pid=$(pgrep -P "$(cat "$folder/nb.pid")" | head -n 1)

crossing() { taskset -c 1 "$folder/sseload" -c 10 -f 1 -r 1000 -w 0 -z 200 -u 1 -d "$seconds" "$@"; }
tick='{"type":"tick","durable":false,"data":{"m":"%D"}}'
for round in $(seq "$rounds"); do
    echo "== 1,000 transient events/s to 10 subscribers, round $round"
    echo "hub, published at the same instance         $(crossing -p 18192 -s "/v1/flows/l$round-%F/events" -P "/v1/flows/l$round-%F/events" -b "$tick" -S "$b_pid")"
    echo "hub, published at the other instance        $(crossing -p 18192 -q 18191 -s "/v1/flows/x$round-%F/events" -P "/v1/flows/x$round-%F/events" -b "$tick" -S "$b_pid")"
    echo "nchan, published at the same instance       $(crossing -p 18194 -s "/sub/l$round-%F" -P "/pub/l$round-%F" -t text/plain -b '%D' -S "$nb_pid")"
    echo "nchan, published at the other instance      $(crossing -p 18194 -q 18193 -s "/sub/x$round-%F" -P "/pub/x$round-%F" -t text/plain -b '%D' -S "$nb_pid")"
done

# Records one message of the hub for each of 1,000 flows from Redis, then publishes all of them repeatedly until they are too old to
# be delivered (10 s).
redis() { redis-cli -p $redis_port "$@"; }
# A stamp far in the future, so that sseload counts every message.
stamp="~T=1000000000000000000~$(printf 'x%.0s' $(seq 177))"
for number in $(seq 0 999); do
    [ "$number" -eq 0 ] || echo next
    printf 'url = "http://127.0.0.1:18191/v1/flows/r%d/events"\noutput = /dev/null\nsilent\n' "$number"
    printf 'data = "{\\"type\\":\\"tick\\",\\"durable\\":false,\\"data\\":{\\"m\\":\\"%s\\"}}"\n' "$stamp"
done >"$folder/requests"
for round in $(seq "$rounds"); do
    echo "== from Redis at full speed, 1,000 flows with one subscriber each, round $round"
    redis-cli -p $redis_port PSUBSCRIBE 'flow:updates:r*' >"$folder/heard" & listener=$!
    until redis PUBSUB NUMPAT | grep -q 1; do sleep 0.05; done
    taskset -c 1 "$folder/sseload" -c 1000 -f 1000 -w 0 -z 200 -u 2 -d 4 -p 18192 -s '/v1/flows/r%F/events' -P /none -S "$b_pid" \
        >"$folder/result" & load=$!
    curl --parallel --parallel-max 50 -K "$folder/requests" 2>/dev/null
    until [ "$(grep -c '^{' "$folder/heard")" -ge 1000 ]; do sleep 0.05; done
    kill "$listener" 2>/dev/null || true
    awk '/^flow:updates:r/ && !/\*/ { channel = $0 } /^\{/ { printf "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", length(channel), channel, length($0), $0 }' \
        "$folder/heard" >"$folder/once"
    for _ in $(seq 40); do cat "$folder/once"; done >"$folder/many"
    while kill -0 "$load" 2>/dev/null; do taskset -c 1 redis-cli -p $redis_port --pipe <"$folder/many" >/dev/null || true; done
    wait "$load" || true
    echo "hub $(cat "$folder/result")"
done
curl -s http://127.0.0.1:18192/metrics | grep -E '^flowhub_bus_(messages|refused)'
