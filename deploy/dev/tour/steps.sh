# Output, checks and processes of the tour. Sourced by tour.sh.

steps=0 checks=0 disagreements=0 step_began="" began=$EPOCHREALTIME
pids=()

seconds_since() { awk -v now="$EPOCHREALTIME" -v then="$1" 'BEGIN { printf "%.1f", now - then }'; }
step_ended() { [ -z "$step_began" ] || echo "       $(seconds_since "$step_began") s"; }
step() {
    step_ended
    steps=$((steps + 1)) step_began=$EPOCHREALTIME
    printf '\n%4d  %s\n' "$steps" "$1"
}
say() { printf '       %s\n' "$*"; }
die() {
    local log
    printf '\ntour: %s\n' "$*" >&2
    for log in "$folder"/*.log; do [ ! -s "$log" ] || { echo "-- $(basename "$log")"; tail -n 5 "$log"; } >&2; done
    exit 1
}

# The first 12 digits identify a hash.
brief() { if [[ $1 =~ ^[0-9a-f]{64}$ ]]; then echo "${1:0:12}…"; else echo "${1:0:60}"; fi; }

# Passes if the expected and the found text are equal.
check() { # what, expected, found
    checks=$((checks + 1))
    if [ "$2" = "$3" ]; then
        printf '   ok  %s: %s expected, %s found\n' "$1" "$(brief "$2")" "$(brief "$3")"
    else
        disagreements=$((disagreements + 1))
        printf ' DIFF  %s:\n         expected %s\n         found    %s\n' "$1" "${2:0:1000}" "${3:0:1000}"
    fi
}

# Passes if an awk expression is true; the text describes it.
check_that() { # text, expression
    checks=$((checks + 1))
    if awk "BEGIN { exit !($2) }"; then
        printf '   ok  %s\n' "$1"
    else
        disagreements=$((disagreements + 1))
        printf ' DIFF  %s\n' "$1"
    fi
}

# Passes if two numbers differ by at most the tolerance. With tolerance 0: if two texts are equal.
check_near() { # what, tolerance, expected, found
    if [ "$2" = 0 ]; then
        check "$1" "$3" "$4"
    else
        check_that "$1: $3 expected within $2, $4 found" "$4 >= $3 - $2 && $4 <= $3 + $2"
    fi
}

# Runs a program in the background; the tour stops it at its end. Sets $started to its PID.
start() { # log, program...
    local log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null &
    started=$!
    pids+=("$started")
}

# Waits until a command succeeds.
await() { # what, seconds, command...
    local what=$1 seconds=$2 end=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || die "$what: timed out after $seconds s."
        sleep 0.05
    done
}

# Stops one process of the tour and waits for it: TERM, and KILL after 20 s.
end_process() { # pid, [signal]
    local pid=$1
    kill "-${2:-TERM}" "$pid" 2>/dev/null || return 0
    for _ in $(seq 200); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}
