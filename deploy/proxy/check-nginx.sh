#!/usr/bin/env bash
# Checks nginx.conf: its syntax, and in a real run the responses to streams and publishers while the hub is down and while it runs.
# Needs nginx, curl and python3; uses free ports on 127.0.0.1 and leaves nothing behind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
nginx_pid="" hub_pid=""
cleanup() {
    [ -z "$nginx_pid" ] || kill "$nginx_pid" 2>/dev/null || true
    [ -z "$hub_pid" ] || kill "$hub_pid" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port)
hub=$(free_port)
sed -e "s|listen 80;|listen 127.0.0.1:$port;|" -e "s|127.0.0.1:8080|127.0.0.1:$hub|" -e "s|/var/log/nginx/flowhub.log|$dir/access.log|" \
    -e "s|worker_rlimit_nofile.*||" -e "s|worker_connections .*|worker_connections 256;|" "$here/nginx.conf" > "$dir/nginx.conf"
cat > "$dir/extra" <<CONF
pid $dir/pid; error_log $dir/error.log; daemon off;
CONF
cat "$dir/extra" "$dir/nginx.conf" > "$dir/full.conf"
nginx -t -q -c "$dir/full.conf"
nginx -c "$dir/full.conf" & nginx_pid=$!
for _ in $(seq 50); do curl -s -o /dev/null "http://127.0.0.1:$port/" && break; sleep 0.1; done

fail() { echo "check-nginx: $1" >&2; exit 1; }
url="http://127.0.0.1:$port"
expect() { [ "$2" = "$1" ] || fail "$3: expected $1, got $2"; }

# The hub is down.
for path in /v1/flows/a/events "/v1/flows/a/events?types=x" "/v1/events?flow=a&flow=b" /v1/feed; do
    answer=$(curl -s -D "$dir/head" -H 'Origin: https://app.example.com' "$url$path")
    expect "HTTP/1.1 200 OK" "$(head -1 "$dir/head" | tr -d '\r')" "$path"
    grep -qi '^content-type: text/event-stream' "$dir/head" || fail "$path: no event stream"
    grep -qi '^access-control-allow-origin: https://app.example.com' "$dir/head" || fail "$path: no CORS"
    grep -Eq '^retry: [2-9]000$' <<< "$answer" || fail "$path: no retry"
    grep -q '^data: {"reason":"unavailable","reconnect":true}$' <<< "$answer" || fail "$path: no closing"
done
expect 503 "$(curl -s -o /dev/null -w '%{http_code}' -X POST -d '{}' "$url/v1/flows/a/events")" "publish while the hub is down"
expect 502 "$(curl -s -o /dev/null -w '%{http_code}' "$url/v1/flows/a/state")" "read of a state while the hub is down"

# The hub runs: it streams slowly, and it rejects one flow.
cat > "$dir/hub.py" <<'PY'
import http.server, sys, time
class Hub(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        if self.path.startswith('/v1/flows/refused/'):
            self.send_response(403); self.end_headers(); return
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream'); self.send_header('X-Accel-Buffering', 'no'); self.end_headers()
        for n in range(3):
            self.wfile.write(b'data: %d\n\n' % n); self.wfile.flush(); time.sleep(0.7)
http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Hub).serve_forever()
PY
python3 "$dir/hub.py" "$hub" & hub_pid=$!
sleep 3 # longer than fail_timeout
expect 403 "$(curl -s -o /dev/null -w '%{http_code}' "$url/v1/flows/refused/events")" "an error of the hub"
first=$(curl -sN -D "$dir/head" --max-time 0.6 "$url/v1/flows/a/events?access_token=secret" || true)
expect "data: 0" "$first" "the first event within 0.6 s, alone"
grep -qi '^x-accel-buffering: no' "$dir/head" || fail "X-Accel-Buffering is missing"
grep -q secret "$dir/access.log" && fail "the token is in the log"
echo "check-nginx: passed"
