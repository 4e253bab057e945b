#!/usr/bin/env bash
# Writes the lock files anew: the newest versions that pyproject.toml allows, for every Python from 3.11 on.
#
#   scripts/lock.sh UV [--upgrade]
#
# UV is the uv program to resolve with; without --upgrade, versions that are locked already stay where they can.
# The files hold names, versions, markers and hashes only: where packages come from is pip's configuration.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=$1
shift

compile() {
    # A find-links folder or an extra index of this machine must not leak into what everyone installs.
    env -u PIP_FIND_LINKS -u UV_FIND_LINKS "$uv" pip compile --quiet --universal --python-version 3.11 \
        --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
        --custom-compile-command "make lock" "$@"
}

compile pyproject.toml --extra embedded --extra tracing --output-file requirements.lock "$@"
compile requirements-build.in --constraints requirements.lock --output-file requirements-build.lock "$@"
compile pyproject.toml requirements-build.in --extra embedded --extra tracing --extra dev \
    --constraints requirements.lock --constraints requirements-build.lock --output-file requirements-dev.lock "$@"
compile chaos/rig/wheels.in --no-deps --output-file chaos/rig/wheels.lock "$@"
