#!/bin/sh
# Sends test alerts to a running gateway: `gateway send` with the same options, found wherever it is installed.
#
#   scripts/send-test-alerts.sh --rate 10/min --duration 2m --alert-name PodOOMKilled --namespace prod-api
#   GATEWAY_URL=http://gateway:8080 GATEWAY_TOKEN=… scripts/send-test-alerts.sh --storm --output sent.jsonl
#
# Exit codes: those of `gateway --help`; 2 also where no gateway command is installed.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)

if [ -x "$root/.venv/bin/gateway" ]; then
    exec "$root/.venv/bin/gateway" send "$@"
elif command -v gateway >/dev/null 2>&1; then
    exec gateway send "$@"
fi
echo "send-test-alerts.sh: no gateway command; \`make demo\` installs one in .venv, or put one on PATH" >&2
exit 2
