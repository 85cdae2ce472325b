# shellcheck shell=bash
# What the tests of `nervus serve` share; sourced after `nervus` (the program) and `source` (the repository) are set.
# Makes a directory `work` with a tiny checkpoint, both gone at the end, and `policy`, the options that name it.

aloha=${source:?}/examples/aloha
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
"${nervus:?}" synth --preset tiny --seed 1 --out "$work/tiny" --quiet >/dev/null
# shellcheck disable=SC2034
policy=(--checkpoint "$work/tiny" --robot aloha --norm-stats "$aloha/norm_stats.json")

# Starts `nervus serve` with these options and waits until it listens; its address is then in $work/address.json.
start_server() {
  rm -f "$work/address.json"
  "${nervus:?}" serve "$@" --port 0 --json >"$work/address.json" 2>"$work/log" &
  server=$!
  for _ in $(seq 600); do
    [ ! -s "$work/address.json" ] || return 0
    kill -0 "$server" || { cat "$work/log"; exit 1; }
    sleep 0.1
  done
  echo "the server does not listen after 60 s"
  exit 1
}

# SIGTERM ends it with 0, soon.
stop_server() {
  local status=0
  kill -TERM "$server"
  wait "$server" || status=$?
  server=
  [ "$status" -eq 0 ] || { echo "the server ended with $status"; cat "$work/log"; exit 1; }
}
