#!/bin/sh
# Ten concurrent duplicates of one alert, while another writer changes the same request twenty times a second; then
# the count must be exactly eleven.
#
#   scripts/concurrent-updates.sh
#   GATEWAY_URL=http://gateway:8080 KUBECONFIG=kubeconfig scripts/concurrent-updates.sh --results results/chaos
#
# Reads GATEWAY_URL, GATEWAY_METRICS_URL, GATEWAY_TOKEN and KUBECONFIG. The gateway must take PodOOMKilled in prod-api
# at once, as with chaos/gateways/concurrent-updates.yaml. Options are those of `python -m chaos run`.
# Exit code 0: passed; 1: failed.
set -eu
. "$(dirname "$0")/chaos.sh"

case " $* " in *" -h "* | *" --help "*) usage ;; esac
chaos run concurrent-updates --cluster "$@"
