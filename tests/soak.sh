#!/usr/bin/env bash
# Runs the property tests and simulations (the unit tests while there are none) with one random seed after another,
# until a seed fails or you stop it. MESHNET_SEED=N replays a seed that failed.
set -eu
cd "$(dirname "$0")/.."

paths=()
for folder in tests/property tests/sim; do
    if [ -n "$(find "$folder" -name 'test_*.py' -print -quit 2>/dev/null)" ]; then paths+=("$folder"); fi
done
[ ${#paths[@]} -gt 0 ] || paths=(tests/unit)

runs=0
while :; do
    seed=${MESHNET_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
    runs=$((runs + 1))
    printf '\n=== run %d, seed %s\n' "$runs" "$seed"
    if ! MESHNET_SEED=$seed .venv/bin/python -m pytest -q -x "${paths[@]}" -m "not root and not docker" \
        --timeout 3600 --hypothesis-seed "$seed"; then
        echo "Seed $seed fails after $runs runs. Replay it: MESHNET_SEED=$seed make soak"
        exit 1
    fi
done
