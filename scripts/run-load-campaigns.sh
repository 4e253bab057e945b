#!/bin/sh
# Plays load campaigns: on the gateway that GATEWAY_URL names, else on components of its own on this machine.
#
#   scripts/run-load-campaigns.sh                            all of them, one after another
#   scripts/run-load-campaigns.sh spike big-day --output results/tonight
#   scripts/run-load-campaigns.sh --scale 0.02               with shortened times
#   GATEWAY_URL=http://gateway:8080 scripts/run-load-campaigns.sh soak --duration 30m
#
# With GATEWAY_URL it reads GATEWAY_METRICS_URL, GATEWAY_TOKEN, GATEWAY_ADMIN_TOKEN and KUBECONFIG, too; docs/load.md
# says what is needed there. Exit code 0: every alert was counted exactly, and every target that could be measured is
# met; 1: not; 2: wrong usage.
set -eu
. "$(dirname "$0")/chaos.sh"

case " $* " in *" -h "* | *" --help "*) usage ;; esac
[ -z "${GATEWAY_URL:-}" ] || set -- "$@" --gateway "$GATEWAY_URL"
chaos load "$@"
