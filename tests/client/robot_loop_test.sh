#!/usr/bin/env bash
# The example's robot loop against `nervus serve` with a tiny checkpoint, which is killed and started again meanwhile.
#
#   robot_loop_test.sh NERVUS ROBOT_LOOP
set -euo pipefail

nervus=$1
robot_loop=$2
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() {
  echo "robot_loop: $*" >&2
  cat "$work"/log "$work"/robot.* >&2
  exit 1
}

# serve PORT: until it is ready; sets `server` and `port`.
serve() {
  rm -f "$work/address.json"
  "$nervus" serve --checkpoint "$work/tiny" --robot aloha --norm-stats "$source/examples/aloha/norm_stats.json" \
    --port "$1" --json >"$work/address.json" 2>>"$work/log" &
  server=$!
  for _ in $(seq 600); do
    [ ! -s "$work/address.json" ] || break
    kill -0 "$server" || fail "the server ended"
    sleep 0.1
  done
  port=$(sed -n 's/.*"port": *\([0-9]*\).*/\1/p' "$work/address.json")
}

"$nervus" synth --preset tiny --seed 1 --out "$work/tiny" --quiet >/dev/null
serve 0
"$robot_loop" 127.0.0.1 "$port" 15 >"$work/robot.out" 2>"$work/robot.err" &
robot=$!
sleep 3
kill -9 "$server"
wait "$server" || true
serve "$port"
status=0
wait "$robot" || status=$?
[ "$status" -eq 0 ] || fail "ended with $status"
cat "$work/robot.out"
[[ $(cat "$work/robot.out") =~ ^([0-9]+)\ commands\ from\ ([0-9]+)\ chunks ]] || fail "says something else"
# Nothing but the time before the first chunk is without a command, whatever becomes of the server.
[ "${BASH_REMATCH[1]}" -ge 100 ] || fail "too few commands"
[ "${BASH_REMATCH[2]}" -ge 4 ] || fail "too few chunks"
[ "$(grep -c '^robot_loop: connected' "$work/robot.err")" -eq 2 ] || fail "expected two connections"

# Nobody there: in words, and with the code of its kind.
kill -TERM "$server"
wait "$server" || fail "the server ended badly"
server=
status=0
"$robot_loop" 127.0.0.1 "$port" 0.5 >"$work/robot.out" 2>"$work/robot.err" || status=$?
[ "$status" -eq 6 ] || fail "expected 6 without a server, found $status"
grep -q '^robot_loop: no chunk was played: 127.0.0.1:[0-9]*: cannot be reached' "$work/robot.err" || fail "other words"
