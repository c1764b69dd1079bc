#!/usr/bin/env bash
# Compares the hub with nchan (an nginx module in C) in one run: the servers on one processor, the client on another.
#
#   Tests/Benchmarks/side-by-side.sh [path of a release build of flowhub]
#
# Needs two processors, a C compiler and Debian's nginx and libnginx-mod-nchan. Uses loopback only and takes about three minutes.
# Each line of output is a line of sseload: see the top of sseload.c. CONNS (5000) and SECONDS_EACH (8) set the size.
set -euo pipefail
cd "$(dirname "$0")/../.."
hub=${1:-.build/release/flowhub}
conns=${CONNS:-5000}
seconds=${SECONDS_EACH:-8}
hub_port=18080
nchan_port=18090
folder=$(mktemp -d)
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

ulimit -n "$(ulimit -Hn)"
cc -O2 -o "$folder/sseload" Tests/Benchmarks/sseload.c

cat >"$folder/nginx.conf" <<CONF
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
worker_processes 1; daemon off; pid $folder/nginx.pid; error_log $folder/error.log warn;
worker_rlimit_nofile 60000;
events { worker_connections 30000; use epoll; multi_accept on; }
http {
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; nchan_shared_memory_size 256M;
  server {
    listen 127.0.0.1:$nchan_port backlog=4096;
    location ~ ^/sub/(.+)\$ { nchan_subscriber eventsource; nchan_channel_id \$1; nchan_subscriber_first_message newest; }
    location ~ ^/pub/(.+)\$ { nchan_publisher; nchan_channel_id \$1; nchan_message_buffer_length 20; }
  }
}
CONF
taskset -c 0 nginx -c "$folder/nginx.conf" 2>/dev/null & pids+=($!)
taskset -c 0 "$hub" serve --port $hub_port --data "$folder/data" 2>"$folder/hub.log" & hub_pid=$!; pids+=($hub_pid)
for _ in $(seq 100); do
    grep -q Listening "$folder/hub.log" 2>/dev/null && [ -f "$folder/nginx.pid" ] && break
    sleep 0.1
done
nchan_pid=$(pgrep -P "$(cat "$folder/nginx.pid")" | head -n 1)

load() { taskset -c 1 "$folder/sseload" -c "$conns" "$@"; }
hub() {
    load -p $hub_port -s '/v1/flows/f%F/events' -P '/v1/flows/f%F/events' \
        -b '{"type":"tick","durable":false,"data":{"m":"%D"}}' -S "$hub_pid" "$@"
}
nchan() { load -p $nchan_port -s '/sub/f%F' -P '/pub/f%F' -t text/plain -b '%D' -S "$nchan_pid" "$@"; }

echo "== idle: memory per connection and CPU time to accept one (first run of each process)"
echo "hub   $(hub -w 0 -u 0 -d 1)"
echo "nchan $(nchan -w 0 -u 0 -d 1)"
for pair in 1 2 3; do
    echo "== one publication at a time, pair $pair"
    echo "hub   $(hub -w 1 -d "$seconds")"
    echo "nchan $(nchan -w 1 -d "$seconds")"
done
for pair in 1 2 3; do
    echo "== 16 in flight, pair $pair"
    echo "hub   $(hub -w 16 -d "$seconds")"
    echo "nchan $(nchan -w 16 -d "$seconds")"
done
for pair in 1 2 3; do
    echo "== 500 subscribers of one flow, and of 200 flows on a POST stream each, one publication at a time, pair $pair"
    echo "one   $(hub -c 500 -w 1 -d "$seconds")"
    echo "200   $(hub -c 500 -w 1 -d "$seconds" -f 200 -F -s /v1/events)"
done
echo "== durable updates from 64 concurrent publishers"
taskset -c 1 "$hub" bench updates --url "http://127.0.0.1:$hub_port" --publishers 64 --duration "$seconds" --server-pid "$hub_pid" || true
