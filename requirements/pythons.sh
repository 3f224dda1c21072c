#!/usr/bin/env bash
# Which Pythons this machine can really run.
#   pythons.sh          prints the newest supported one's path; explains and fails when there is none
#   pythons.sh all      prints "3.N PATH" for every supported version found, newest first
# A candidate counts only if it starts (a pyenv shim of a version that is not selected does not), is the version its
# name says, and has the modules a virtual environment and the project need.
set -eu

supported="3.13 3.12 3.11"

runs() { # PATH VERSION MODULES: does it start, as that version, with those modules?
    "$1" -c "import sys; assert '%d.%d' % sys.version_info[:2] == '$2'; import $3" >/dev/null 2>&1
}

find_python() { # VERSION MODULES -> path
    local version=$1 modules=$2 candidate
    while read -r candidate; do
        if [ -x "$candidate" ] && runs "$candidate" "$version" "$modules"; then
            echo "$candidate"
            return 0
        fi
    done < <(
        type -aP "python$version" || true
        printf '%s\n' "${HOME:-/nonexistent}"/.pyenv/versions/"$version"*/bin/"python$version" | sort -rV
    )
    return 1
}

full="venv, ensurepip, ssl, sqlite3"

if [ "${1:-newest}" = all ]; then
    for version in $supported; do
        if path=$(find_python "$version" "$full"); then echo "$version $path"; fi
    done
    exit 0
fi

for version in $supported; do
    if find_python "$version" "$full"; then exit 0; fi
done

# Debian and Ubuntu split the venv module off: an interpreter without it is one package away from being usable.
for version in $supported; do
    if path=$(find_python "$version" "ssl, sqlite3"); then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "Installing Debian package python$version-venv (makes virtual environments for $path)" >&2
            { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "python$version-venv"; } >&2
            find_python "$version" "$full" && exit 0
        fi
        echo "meshnet: $path cannot make virtual environments: its modules venv and ensurepip are missing." >&2
        echo "  why: Debian and Ubuntu ship them in a package of their own." >&2
        echo "  fix: as root, apt-get install python$version-venv, then run this again." >&2
        exit 1
    fi
done

echo "meshnet: no Python 3.11, 3.12 or 3.13 that starts was found on PATH or in ~/.pyenv/versions." >&2
echo "  why: meshnet needs Python >= 3.11." >&2
echo "  fix: Debian 12/13 and Ubuntu 24.04: apt-get install python3 python3-venv" >&2
echo "       Ubuntu 22.04: apt-get install python3.11 python3.11-venv; elsewhere: pyenv install 3.13" >&2
exit 1
