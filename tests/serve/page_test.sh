#!/usr/bin/env bash
# The page at / in Debian's chromium, without a screen, while a client asks for actions (see page.py), and where the
# server has a key (page_key.py). Ends with 77, which ctest takes for skipped, where there is no chromium or PyPI is out
# of reach.
#
#   page_test.sh NERVUS DIRECTORY [SCREENSHOT.png]     the program, and where the client's environment may stay
# shellcheck disable=SC1091,SC2034,SC2154 # what served.sh sets and reads
set -euo pipefail

nervus=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) ||
  { echo "skipped: there is no chromium (Debian: chromium)"; exit 77; }
python=$("$source/tests/serve/clients_environment.sh" "$2" openpi-client \
  openpi-client==0.1.2 typing_extensions prometheus-client)
. "$source/tests/serve/served.sh"

start_server "${policy[@]}"
"$python" "$source/tests/serve/page.py" "$work/address.json" "$aloha" "$browser" "$work" "${3:-}" ||
  { cat "$work/log"; exit 1; }
stop_server

key="a key: of 24 characters"
echo "$key" >"$work/key"
start_server "${policy[@]}" --api-key-file "$work/key"
"$python" "$source/tests/serve/page_key.py" "$work/address.json" "$aloha" "$browser" "$work" "$key" ||
  { cat "$work/log"; exit 1; }
stop_server
