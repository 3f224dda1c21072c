#!/usr/bin/env bash
# Runs the named tiers of the test suite one after another, each to its end, then prints a table with their times.
# Fails when a tier failed, or, under CI=true, when one could not run.
#   tests/tiers.sh unit property sim pythons lab docker slow
set -u
cd "$(dirname "$0")/.."

python=.venv/bin/python
table=""
failed=0

has_tests() { [ -d "$1" ] && [ -n "$(find "$1" -name 'test_*.py' -print -quit)" ]; }

report() { # TIER RESULT SECONDS
    table+=$(printf '  %-14s %-8s %5s s' "$1" "$2" "$3")$'\n'
}

not_run() { # TIER REASON
    printf '\n!!! NOT RUN: tier %s: %s\n' "$1" "$2"
    report "$1" "NOT RUN" 0
    if [ "${CI:-}" = true ]; then failed=1; fi
}

tier() { # NAME PYTHON PYTEST-ARGUMENTS…
    local name=$1 interpreter=$2 start=$SECONDS status=0
    shift 2
    printf '\n=== tier %s\n' "$name"
    "$interpreter" -m pytest -q "$@" || status=$?
    case $status in
        0) report "$name" passed $((SECONDS - start)) ;;
        *) report "$name" FAILED $((SECONDS - start)); failed=1 ;;
    esac
}

unit_paths=(tests/unit tests/test_*.py)

run_pythons() {
    local chosen version path others=0
    chosen=$($python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    while read -r version path; do
        [ "$version" = "$chosen" ] && continue
        others=1
        if ! requirements/venv.sh ".venv-$version" "$path"; then
            report "unit $version" FAILED 0
            failed=1
            continue
        fi
        tier "unit $version" ".venv-$version/bin/python" "${unit_paths[@]}" -m "not slow and not root and not docker"
    done < <(requirements/pythons.sh all)
    [ $others = 1 ] || printf '\nNo other supported Python than %s was found here.\n' "$chosen"
}

run_docker() {
    if ! has_tests tests/docker; then
        echo "No test needs a Docker engine yet."
        return
    fi
    if ! { command -v dockerd && command -v busybox; } >/dev/null && { [ "${CI:-}" = true ] || [ "${DOCKER:-}" = install ]; }; then
        echo "Installing Debian packages docker.io, busybox-static (the engine and image of tests/docker)"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq docker.io busybox-static; } >/dev/null
    fi
    if ! command -v dockerd >/dev/null; then
        not_run docker "no dockerd here; DOCKER=install make test-docker installs one"
        return
    fi
    tier docker $python tests/docker tests/test_features.py -m "not slow" --timeout 300
}

run_lab() {
    if ! has_tests tests/live; then
        echo "There are no lab tests yet."
    elif [ "$(id -u)" != 0 ]; then
        not_run lab "it makes network namespaces and TAP devices, which needs root; sudo make test-lab"
    else
        tier lab $python tests/live tests/test_features.py -m "not slow" --timeout 180
    fi
}

run_slow() {
    if [ -z "$(grep -rlE 'mark\.slow' tests --include='test_*.py' | head -n 1)" ]; then
        echo "There are no slow tests yet."
    else
        tier slow $python tests -m slow --timeout 1200
    fi
}

run_in() { # TIER FOLDERS…
    local name=$1 folder folders=()
    shift
    for folder in "$@"; do
        if has_tests "$folder"; then folders+=("$folder"); fi
    done
    if [ ${#folders[@]} = 0 ]; then
        echo "There are no $name tests yet."
    else
        tier "$name" $python "${folders[@]}" tests/test_features.py -m "not slow" --timeout 180
    fi
}

for name in "$@"; do
    case $name in
        unit) tier "unit $($python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" $python "${unit_paths[@]}" -m "not slow" ;;
        property) run_in property tests/property tests/planted ;;
        sim) run_in sim tests/sim ;;
        pythons) run_pythons ;;
        lab) run_lab ;;
        docker) run_docker ;;
        slow) run_slow ;;
        *) echo "tests/tiers.sh: no tier named $name" >&2; exit 2 ;;
    esac
done

printf '\nTiers\n%s' "$table"
printf '  %-14s %-8s %5s s\n' "all" "" "$SECONDS"
exit $failed
