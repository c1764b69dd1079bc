#!/usr/bin/env bash
# Converts Debian's package index into data sets to import: about 64,000 packages with up to 50 fields, as irregular as real data.
#
#   packages.sh FOLDER [--packages N] [--repeat N]
#
# Writes FOLDER/packages.ndjson, one JSON object per line, and FOLDER/packages.csv, the same records with a header of all fields
# (RFC 4180). Fields have the names of the index; values of several lines keep their line feeds. Size and Installed-Size are numbers
# in JSON. A field that a package does not have is omitted in JSON and empty in CSV.
#
#   --packages N   only the first N packages
#   --repeat N     all records N times, for benchmarks
#
# Reads the package lists of apt; if there are none, it runs `apt-get update`.
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

# Without package lists `apt-cache dumpavail` prints installed packages only.
has_lists() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }
if ! has_lists; then
    sudo=""
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq || die "apt-get update failed, so there is no package index."
    has_lists || die "apt has no package lists. Check /etc/apt/sources.list."
fi
apt-cache dumpavail >"$index"

# Two passes over the index: the first collects the field names in order of appearance, the second writes the records.
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
    # The field name is the text before the colon; a continuation line begins with a blank.
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

# Repeats the lines of a file from the given line on, $repeat times.
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
