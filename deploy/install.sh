#!/bin/sh
# Installs the gateway with its locked dependencies into a virtual environment of its own, without pip in it.
#
#   deploy/install.sh TARGET [DISTRIBUTION]
#
# TARGET is a folder that is not there yet; what is in it names its place, so it cannot be moved. DISTRIBUTION is a
# wheel or a source distribution; without one, the tree is installed. PYTHON is the interpreter (python3).
set -eu

target=$1
root=$(cd "$(dirname "$0")/.." && pwd)
what=${2:-$root}
python=${PYTHON:-python3}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

pip() { "$tools/bin/python" -m pip --disable-pip-version-check --no-input "$@"; }

# pip and what builds the project stay in an environment that is thrown away.
"$python" -m venv "$tools"
pip install --quiet --require-hashes -r "$root/requirements-build.lock"
pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$tools/wheels" "$what"

"$python" -m venv --without-pip "$target"
pip --python "$target/bin/python" install --quiet --no-compile --require-hashes -r "$root/requirements.lock"
pip --python "$target/bin/python" install --quiet --no-compile --no-deps "$tools"/wheels/*.whl
# Compiled once, here: where it runs, nothing can be written.
"$target/bin/python" -m compileall -q "$target/lib"
