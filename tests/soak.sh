#!/usr/bin/env bash
# Runs the property tests and simulations (the unit tests while there are none) with one random seed after another, and
# after each the fuzzer on every decoder of remote bytes (FUZZ_SECONDS each, 0: none), until something fails or you stop
# it. MESHNET_SEED=N replays a seed that failed; an input that failed lies in artefacts/fuzz.
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
    if [ "${FUZZ_SECONDS:-20}" -gt 0 ]; then
        mkdir -p artefacts/fuzz
        if ! (cd artefacts/fuzz && PYTHONPATH=../.. ../../.venv/bin/python -m tests.fuzz --all --seconds "${FUZZ_SECONDS:-20}"); then
            echo "The fuzzer found something after $runs runs; the inputs are in artefacts/fuzz."
            exit 1
        fi
    fi
done
