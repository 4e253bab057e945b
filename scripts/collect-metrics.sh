#!/bin/sh
# Writes what a gateway's metrics say now as JSON: before a rehearsal, and after it.
#
#   scripts/collect-metrics.sh --baseline --output baseline.json
#   scripts/collect-metrics.sh --post-chaos --sent sent.jsonl --output post.json
#
# Reads GATEWAY_URL and GATEWAY_METRICS_URL (by default port 9090 of the same host; several replicas with commas). The
# object has at least alerts_sent, alerts_processed, circuit_breaker_activations and recovery_time_seconds.
# Exit code 2: the metrics do not answer.
set -eu
. "$(dirname "$0")/chaos.sh"

case " $* " in *" -h "* | *" --help "*) usage ;; esac
chaos metrics "$@"
