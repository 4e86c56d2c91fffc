#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Run the tiers one after the other, all of them, and say at the end how each went.
set -u
summary=() failed=0
for tier in "$@"; do
  printf '\n===== %s =====\n' "$tier"
  begin=$SECONDS
  if make --no-print-directory "$tier"; then result=passed; else result=FAILED failed=1; fi
  summary+=("$(printf '%-12s %-7s %4d s' "$tier" "$result" $((SECONDS - begin)))")
done
printf '\n===== tiers =====\n'
printf '%s\n' "${summary[@]}"
exit $failed
