#!/usr/bin/env bash
# An S3 server for development and tests: OpenStack Swift with its s3api, on one disk, on the loopback interface only. It is an
# independent implementation that verifies signatures, hashes and dates. Do not store data in it that must survive.
#
#   s3server.sh configure FOLDER [PORT OBJECT CONTAINER ACCOUNT]   writes the configuration into FOLDER/etc
#   s3server.sh start FOLDER [PORT OBJECT CONTAINER ACCOUNT]       configures, and runs the server in the background
#   s3server.sh stop FOLDER                                        stops the server; the data stays
#
# PORT is the S3 port, the other three are internal. Without ports it uses free ones. start prints
#   endpoint=http://127.0.0.1:PORT region=auto access_key=hub:writer secret_key=secretkey
# FOLDER must be on a file system with user xattrs. .ci/install installs the programs in FLOWHUB_TEST_TOOLS
# (~/.cache/flowhub-tests).
set -euo pipefail

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 64; }
die() { echo "s3server: $*" >&2; exit 1; }

[ $# -eq 2 ] || [ $# -eq 6 ] || usage
verb=$1
tools=${FLOWHUB_TEST_TOOLS:-$HOME/.cache/flowhub-tests}/bin
mkdir -p "$2"
folder=$(cd "$2" && pwd)
shift 2
servers=(object container account proxy)

configure() {
    [ -x "$tools/swift-proxy-server" ] || die "$tools/swift-proxy-server not found: run .ci/install, or set FLOWHUB_TEST_TOOLS."
    mkdir -p "$folder"/{etc,run,srv/disk}
    "$tools/python" - "$folder" "$@" <<'PYTHON'
import getpass, os, socket, sys

folder, ports = sys.argv[1], [int(port) for port in sys.argv[2:]]
disk = folder + "/srv/disk"
try:
    os.setxattr(disk, "user.flowhub", b"1")
except OSError:
    sys.exit(f"s3server: The file system of {folder} has no user xattrs. Use a folder on ext4, xfs or btrfs; for the "
             "tests, set TMPDIR to one.")

def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    numbers = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return numbers

proxy, *inner = ports or free_ports(4)

def write(name, text):
    with open(f"{folder}/etc/{name}", "w") as file:
        file.write(text)

def common(port):
    # Long timeouts: Swift treats a slow disk as broken, and a machine that runs tests is slow.
    return (f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nuser = {getpass.getuser()}\n"
            f"swift_dir = {folder}/etc\nconn_timeout = 20\nnode_timeout = 60\n")

write("endpoint", f"http://127.0.0.1:{proxy}\n")
write("swift.conf", "[swift-hash]\nswift_hash_path_prefix = p\nswift_hash_path_suffix = s\n"
      "[storage-policy:0]\nname = gold\ndefault = yes\n")
for name, port in zip(("object", "container", "account"), inner):
    write(f"{name}.conf", common(port) + f"""devices = {folder}/srv
mount_check = false
disable_fallocate = true
container_update_timeout = 60
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
conn_timeout = 20
node_timeout = 60
""")
write("proxy.conf", common(proxy) + """[pipeline:main]
pipeline = catch_errors cache s3api tempauth bulk slo dlo copy proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
conn_timeout = 20
node_timeout = 60
# Disables error suppression, so that a server is used again as soon as it runs again.
error_suppression_limit = 1000000
[filter:catch_errors]
use = egg:swift#catch_errors
# No memcached: port 1 is closed. A cached entry could be older than a change made through another process.
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
error_suppression_interval = 3600
[filter:s3api]
use = egg:swift#s3api
location = auto
allow_multipart_uploads = true
min_segment_size = 5242880
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_hub_writer = secretkey .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
[filter:dlo]
use = egg:swift#dlo
[filter:copy]
use = egg:swift#copy
""")

os.environ["SWIFT_CONF"] = ""
from swift.common.ring.builder import RingBuilder
for name, port in zip(("object", "container", "account"), inner):
    builder = RingBuilder(6, 1, 1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "disk", "weight": 1,
                     "replication_ip": "127.0.0.1", "replication_port": port, "meta": ""})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/etc/{name}.ring.gz")
PYTHON
}

# Prints the PID of a server if it runs. Checks the command line, because the PID may have been reused.
process() {
    local id
    id=$(cat "$folder/run/$1.pid" 2>/dev/null) && tr '\0' ' ' 2>/dev/null <"/proc/$id/cmdline" | grep -qF "$folder/etc/$1.conf" && echo "$id"
}

start() {
    local name endpoint
    for name in "${servers[@]}"; do ! process "$name" >/dev/null || die "The server is already running in $folder."; done
    configure "$@"
    endpoint=$(cat "$folder/etc/endpoint")
    for name in "${servers[@]}"; do
        setsid "$tools/swift-$name-server" "$folder/etc/$name.conf" >"$folder/run/$name.log" 2>&1 </dev/null &
        echo $! >"$folder/run/$name.pid"
    done
    for _ in $(seq 300); do
        for name in "${servers[@]}"; do
            process "$name" >/dev/null && continue
            cat "$folder/run/$name.log" >&2
            stop
            die "The $name server exited during start."
        done
        if answers; then
            echo "endpoint=$endpoint region=auto access_key=hub:writer secret_key=secretkey"
            return 0
        fi
        sleep 0.1
    done
    stop
    die "The server did not answer within 30 s; see $folder/run."
}

# Succeeds if every server accepts connections.
answers() {
    local port
    for port in $(sed -n 's/^bind_port = //p' "$folder"/etc/*.conf); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 1
    done
}

stop() {
    local name id
    for name in "${servers[@]}"; do
        id=$(process "$name") || continue
        kill -TERM "$id" 2>/dev/null || continue
        for _ in $(seq 50); do process "$name" >/dev/null || break; sleep 0.1; done
        process "$name" >/dev/null && kill -KILL "$id" 2>/dev/null
    done
    rm -f "$folder"/run/*.pid
}

case $verb in
    configure) configure "$@" ;;
    start) start "$@" ;;
    stop) stop ;;
    *) usage ;;
esac
