#!/usr/bin/env bash
# `nervus serve --record` under load, ended and killed, and `nervus replay` of what it left: whole, cut and changed.
#
#   record_test.sh NERVUS RECORD_LOAD
set -euo pipefail

nervus=$1
load=$2
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() {
  echo "record: $*" >&2
  tail -n 20 "$work"/log "$work"/out >&2
  exit 1
}

# serve FILE [option...]: until it is ready; sets `server` and `port`.
serve() {
  rm -f "$work/address.json"
  "$nervus" serve --checkpoint "$work/tiny" --robot aloha --norm-stats "$source/examples/aloha/norm_stats.json" \
    --threads 1 --port 0 --json --record "$@" >"$work/address.json" 2>"$work/log" &
  server=$!
  for _ in $(seq 600); do
    [ ! -s "$work/address.json" ] || break
    kill -0 "$server" || fail "the server ended"
    sleep 0.1
  done
  port=$(sed -n 's/.*"port": *\([0-9]*\).*/\1/p' "$work/address.json")
}

# finish SIGNAL EXPECTED
finish() {
  local status=0
  kill "-$1" "$server"
  wait "$server" 2>/dev/null || status=$?
  server=
  [ "$status" -eq "$2" ] || fail "expected the server to end with $2, found $status"
}

# replayed EXPECTED FILE [option...]: the exit code of a replay, whose output is left in out.
replayed() {
  local expected=$1 status=0
  shift
  "$nervus" replay "$1" --checkpoint "$work/tiny" --threads 1 --norm-stats "$source/examples/aloha/norm_stats.json" \
    "${@:2}" >"$work/out" 2>&1 || status=$?
  [ "$status" -eq "$expected" ] || fail "replay $*: expected $expected, found $status"
}

# value NAME: a number or a word of the JSON document in out.
value() { python3 -c "import json, sys; print(json.load(open(sys.argv[1]))$1)" "$work/out"; }
says() { grep -qF -- "$1" "$work/out" || fail "expected \"$1\""; }

for seed in 1 2; do "$nervus" synth --preset tiny --seed $seed --out "$work/tiny$seed" --quiet >/dev/null; done
mv "$work/tiny1" "$work/tiny"

# Ended in order: every answer is there, and the same again.
serve "$work/whole"
answers=$("$load" "$port" 2 20)
finish TERM 0
replayed 0 "$work/whole" --json
[ "$(value '["records"]')" -eq "$answers" ] || fail "expected $answers records, found $(value '["records"]')"
[ "$(value '["identical"]')" -eq "$answers" ] || fail "not all are identical"
[ "$(value '["end"]["why"]')" = "" ] || fail "expected a whole file"
replayed 0 "$work/whole"
says "$answers of $answers replies identical to the last bit"

# Another checkpoint, another precision: told by the first element.
mv "$work/tiny" "$work/tiny1" && mv "$work/tiny2" "$work/tiny"
replayed 1 "$work/whole"
says "[0, 0] left_waist"
says "0 of $answers replies identical to the last bit"
says "DIFFERENT"
mv "$work/tiny" "$work/tiny2" && mv "$work/tiny1" "$work/tiny"
replayed 1 "$work/whole" --precision f32 --json
[ "$(value '["differences"][0]["first"]["recorded"]')" != "$(value '["differences"][0]["first"]["replayed"]')" ] ||
  fail "the first element is the same"
largest=$(value '["differences"][0]["largest"]')
replayed 1 "$work/whole" --precision f32 --tolerance 1e-9
says "0 of $answers replies identical to the last bit: DIFFERENT"
replayed 0 "$work/whole" --precision f32 --tolerance 1
says "0 of $answers replies identical to the last bit, $answers more within 1"
replayed 1 "$work/whole" --precision f32 --tolerance "$largest" --json
[ "$(value '["differences"][0]["passed"]')" = True ] || fail "a difference as large as the tolerance is refused"
[ "$(value '["within_tolerance"]')" -lt "$answers" ] || fail "all are within the first one's difference"

# Cut short, and changed.
size=$(stat -c %s "$work/whole")
head -c $((size - 10)) "$work/whole" >"$work/cut"
replayed 0 "$work/cut"
says "the last record is cut short"
says "$((answers - 1)) of $((answers - 1)) replies identical to the last bit"
cp "$work/whole" "$work/changed"
printf '!!' | dd of="$work/changed" bs=1 seek=$((size / 2)) conv=notrunc status=none
replayed 1 "$work/changed"
says "checksum is wrong"
says "DAMAGED"

# Killed under load: all but at most the last record are whole, and the same again.
for records in 3 9; do
  serve "$work/killed$records"
  "$load" "$port" 4 1000000 >"$work/answers" 2>/dev/null &
  loading=$!
  for _ in $(seq 6000); do
    [ "$(stat -c %s "$work/killed$records")" -lt $((records * 192 * 192 * 3)) ] || break
    sleep 0.01
  done
  finish KILL 137
  wait "$loading" || fail "no answers"
  replayed 0 "$work/killed$records" --json
  # What was answered just before may not have been written yet.
  echo "record: killed: $(cat "$work/answers") answers, $(value '["records"]') records," \
    "$(value '["end"]["ignored_bytes"]') bytes of a record cut short"
  [ "$(value '["records"]')" -ge $((records - 1)) ] || fail "records are missing"
  [ "$(value '["identical"]')" -eq "$(value '["records"]')" ] || fail "not all are identical"
done

# Full: closed with a warning, the beginning without a gap.
serve "$work/full" --record-max-mib 1
answers=$("$load" "$port" 4 20)
finish TERM 0
[ "$(stat -c %s "$work/full")" -le $((1 << 20)) ] || fail "expected at most 1 MiB"
grep -q '"event":"record_full"' "$work/log" || fail "expected a warning"
replayed 0 "$work/full" --json
[ "$(value '["records"]')" -lt "$answers" ] || fail "expected fewer records than answers"

# A file that is there is left alone.
status=0
"$nervus" serve --checkpoint "$work/tiny" --port 0 --record "$work/full" >"$work/out" 2>&1 || status=$?
[ "$status" -eq 6 ] || fail "expected 6, found $status"
says "nervus: error: $work/full: cannot be recorded to: it exists already: name another file"
