#!/bin/bash
# Runs suites of pytest in two lanes at a time, as most of them wait for timeouts most of the time; then, alone, those that
# measure. Each lane has ports of its own. The output of a suite is shown when it has ended.
#
#     suites.sh PYTHON LANE_1 LANE_2 ALONE     each of the last three a list of folders in one argument
set -u
python=$1 lanes=("$2" "$3") alone=$4
here=$(cd "$(dirname "$0")/.." && pwd)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

suite() { # name, ports
  local name=$1 begun=$SECONDS status=0
  (cd "$here/$name" && TEST_PORTS=$2 PYTHONDONTWRITEBYTECODE=1 "$python" -m pytest .) >"$logs/$name" 2>&1 || status=$?
  {
    flock 9
    echo "== tests/$name: $((SECONDS - begun)) s, status $status"
    cat "$logs/$name"
  } 9>"$logs/turn"
  ((status == 0)) || touch "$logs/failed"
}

lane() { for name in $1; do suite "$name" "$2"; done; }

lane "${lanes[0]}" 12000-22000 &
lane "${lanes[1]}" 22000-32000 &
wait
lane "$alone" 12000-32000
[[ ! -e $logs/failed ]]
