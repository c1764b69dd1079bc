#!/usr/bin/env bash
# Turns Debian's own package index into data sets to import: some 64,000 packages with up to 50 fields, as messy as real data is.
#
#   packages.sh FOLDER [--packages N] [--repeat N]
#
# writes FOLDER/packages.ndjson, one JSON object a line, and FOLDER/packages.csv, the same records with a header of all fields
# (RFC 4180). A field has its name as in the index, and further lines of it are kept with their line feeds. Size and
# Installed-Size are numbers in JSON; what a package does not have is left out there and empty in CSV.
#
#   --packages N   only the first N packages
#   --repeat N     all of it N times over, for benchmarks
#
# apt must know the packages; if it knows none, `apt-get update` is run.
set -euo pipefail
export LC_ALL=C

usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 64; }
die() { echo "packages: $*" >&2; exit 1; }
is_count() { [[ $1 =~ ^[1-9][0-9]{0,8}$ ]]; }

folder="" packages=0 repeat=1
while [ $# -gt 0 ]; do
    case $1 in
        --packages) is_count "${2:-}" || usage; packages=$2; shift ;;
        --repeat) is_count "${2:-}" || usage; repeat=$2; shift ;;
        -*) usage ;;
        *) [ -z "$folder" ] || usage; folder=$1 ;;
    esac
    shift
done
[ -n "$folder" ] || usage
mkdir -p "$folder"
index=$(mktemp "$folder/index.XXXXXX")
trap 'rm -f "$index" "$index.counts"' EXIT

# Without the lists there is only what is installed.
has_lists() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }
if ! has_lists; then
    sudo=""
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq || die "apt-get update failed, so there is no index of packages."
    has_lists || die "apt knows no packages. Is there anything in /etc/apt/sources.list?"
fi
apt-cache dumpavail >"$index"

# Twice over the index: the first time for the names of the fields, in the order in which they appear.
awk -v ndjson="$folder/packages.ndjson" -v csv="$folder/packages.csv" -v most="$packages" '
    function quoted(text) {
        if (text ~ /["\\]/) gsub(/["\\]/, "\\\\&", text)
        if (text ~ /[\001-\037]/) {
            gsub(/\n/, "\\n", text)
            for (code = 1; code < 32 && text ~ /[\001-\037]/; code++) gsub(control[code], "\\u" escape[code], text)
        }
        return "\"" text "\""
    }
    function cell(text) {
        if (text !~ /[",\r\n]/) return text
        gsub(/"/, "\"\"", text)
        return "\"" text "\""
    }
    function record(    i, name, text, separator) {
        if (fields == 0) return
        if (++records == 1) {
            for (i = 1; i <= columns; i++) printf "%s%s", (i > 1 ? "," : ""), cell(column[i]) >csv
            printf "\r\n" >csv
        }
        text = "{"
        for (i = 1; i <= fields; i++) {
            name = field[i]
            text = text separator quoted(name) ":"
            separator = ","
            if ((name == "Size" || name == "Installed-Size") && value[name] ~ /^(0|[1-9][0-9]*)$/) text = text value[name]
            else text = text quoted(value[name])
        }
        print text "}" >ndjson
        text = cell(value[column[1]])
        for (i = 2; i <= columns; i++) text = text "," (column[i] in value ? cell(value[column[i]]) : "")
        printf "%s\r\n", text >csv
        for (i = 1; i <= fields; i++) delete value[field[i]]
        fields = 0
    }
    BEGIN {
        for (code = 1; code < 32; code++) {
            control[code] = sprintf("%c", code)
            escape[code] = sprintf("%04x", code)
        }
    }
    # What stands before the colon; a line that goes on begins with a blank.
    { name = ""; if ($0 ~ /^[^ \t:]+:/) name = substr($0, 1, index($0, ":") - 1) }
    pass == 1 {
        if ($0 == "") inside = 0
        else if (!inside) { inside = 1; packages++ }
        if (name != "" && !(name in seen) && (most == 0 || packages <= most)) { seen[name] = 1; column[++columns] = name }
        next
    }
    $0 == "" { record(); if (most > 0 && records == most) exit; next }
    name != "" {
        if (!(name in value)) field[++fields] = name
        text = substr($0, length(name) + 2)
        sub(/^[ \t]+/, "", text)
        value[name] = text
        last = name
        next
    }
    fields > 0 { value[last] = value[last] "\n" substr($0, 2) }
    END {
        record()
        print records + 0, columns + 0
    }
' pass=1 "$index" pass=2 "$index" >"$index.counts"
read -r records columns <"$index.counts"
[ "$records" -gt 0 ] || die "apt-cache dumpavail printed no packages."

# The file's lines from the one named on, as often as wanted.
repeat_file() { # name, first line
    local name="$folder/$1"
    [ "$repeat" -gt 1 ] || return 0
    mv "$name" "$name.once"
    { head -n $(($2 - 1)) "$name.once"; for _ in $(seq "$repeat"); do tail -n +"$2" "$name.once"; done; } >"$name"
    rm -f "$name.once"
}
repeat_file packages.ndjson 1
repeat_file packages.csv 2

echo "$((records * repeat)) records with up to $columns fields in $folder:"
for name in packages.ndjson packages.csv; do printf '%12d bytes  %s\n' "$(stat -c %s "$folder/$name")" "$name"; done
