#!/bin/sh
# Sends test alerts to a running gateway: `gateway send` with the same options, found wherever it is installed.
#
#   scripts/send-test-alerts.sh --rate 10/min --duration 2m --alert-name PodOOMKilled --namespace prod-api
#   GATEWAY_URL=http://gateway:8080 GATEWAY_TOKEN=… scripts/send-test-alerts.sh --count 50 --output sent.jsonl
#
# Exit codes: those of `gateway --help`; 2 also where no gateway command is installed.
set -eu
. "$(dirname "$0")/chaos.sh"

gateway send "$@"
