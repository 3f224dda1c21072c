#!/usr/bin/env bash
# Makes a virtual environment holding exactly requirements/lock.txt and this checkout (editable).
#   venv.sh DIR [PYTHON]     PYTHON: default, the newest that pythons.sh finds
# Nothing happens when DIR already holds this lock, this pyproject.toml and this Python; a lock protects two verbs
# that run at once.
set -eu

cd "$(dirname "$0")/.."
directory=$1
python=${2:-$(requirements/pythons.sh)}

version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
sum=$(cat requirements/lock.txt pyproject.toml | sha256sum | cut -c1-16)
stamp="$directory/installed"
wanted="$version $sum $PWD"

exec 9<requirements/lock.txt
flock 9

if [ -x "$directory/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then exit 0; fi

if ! "$directory/bin/python" -c "import sys; sys.exit('%d.%d.%d' % sys.version_info[:3] != '$version')" 2>/dev/null; then
    echo "Making $directory with $python (Python $version)"
    "$python" -m venv --clear "$directory"
fi
rm -f "$stamp"
echo "Installing requirements/lock.txt and this checkout into $directory (once per change of the lock)"
pip="$directory/bin/python -m pip --disable-pip-version-check install --quiet --no-deps"
if ! { $pip --requirement requirements/lock.txt && $pip --no-build-isolation --editable .; }; then
    echo "meshnet: the packages of requirements/lock.txt could not be installed into $directory." >&2
    echo "  why: pip says so above; usually there is no way to the package index." >&2
    echo "  fix: check the network, or the index and proxy in pip's configuration (pip config list), and run again." >&2
    exit 1
fi
echo "$wanted" >"$stamp"
