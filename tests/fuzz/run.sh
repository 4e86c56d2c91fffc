#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fuzz the plan decoder (libFuzzer with address and undefined-behaviour sanitizers) and the specification parser.
# usage: run.sh SECONDS
set -eu
seconds=${1:-60}
top=$(cd "$(dirname "$0")/../.." && pwd)
python="$top/.venv/bin/python"
[ -x "$python" ] || python=python3
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/corpus"
"$python" "$top/tests/fuzz/corpus.py" "$scratch/corpus"
clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -o "$scratch/fuzz_plan" \
  "$top/tests/fuzz/fuzz_plan.c" "$top/src/boxship/native/decode.c"
"$python" "$top/tests/fuzz/fuzz_spec.py" "$seconds" &
other=$!
cd "$scratch"
"$scratch/fuzz_plan" -max_total_time="$seconds" -max_len=65536 -print_final_stats=1 "$scratch/corpus" >"$scratch/log" 2>&1 ||
  { tail -40 "$scratch/log"; exit 1; }
grep -E 'stat::(number_of_executed_units|peak_rss_mb)' "$scratch/log"
wait "$other"
echo "fuzz: nothing found in $seconds s"
