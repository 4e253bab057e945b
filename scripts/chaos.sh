# shellcheck shell=sh
# Sourced by the scripts around it: finds the commands. With a checkout's .venv, else with what is on PATH.

root=$(cd "$(dirname "$0")/.." && pwd)

# Runs `gateway ARGUMENTS`.
gateway() {
    if [ -x "$root/.venv/bin/gateway" ]; then
        "$root/.venv/bin/gateway" "$@"
    elif command -v gateway >/dev/null 2>&1; then
        command gateway "$@"
    else
        echo "$(basename "$0"): no gateway command; \`make demo\` installs one in .venv, or put one on PATH" >&2
        return 2
    fi
}

# Runs `python -m chaos ARGUMENTS`, from the checkout, where the package is; paths stay those of the caller.
chaos() {
    python=$root/.venv/bin/python
    [ -x "$python" ] || python=python3
    PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} "$python" -m chaos "$@"
}

# Prints the head comment of the script itself, and ends.
usage() {
    sed -n '2,/^set /{/^#/{s/^# \{0,1\}//;p;};}' "$0"
    exit 0
}
