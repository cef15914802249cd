#!/usr/bin/env bash
# Fuzzes every target of both modules for FUZZTIME each (default 10s), one after
# the other. Stops at the first that fails; go test says where it kept the input.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/require-go.sh
fuzztime=${FUZZTIME:-10s}

total=0
for module in . sdk; do
  cd "$module"
  # go test -list prints a package's targets, then "ok PACKAGE TIME".
  targets=()
  list=$(go test -list '^Fuzz' ./...)
  while read -r word package _; do
    case $word in
    Fuzz*) targets+=("$word") ;;
    ok)
      for target in "${targets[@]}"; do
        printf '== %s %s\n' "$package" "$target"
        go test -run '^$' -fuzz "^$target\$" -fuzztime "$fuzztime" "$package"
        total=$((total + 1))
      done
      targets=()
      ;;
    esac
  done <<<"$list"
  cd - >/dev/null
done
echo "fuzzed $total targets for $fuzztime each"
