#!/bin/sh
# Compares metrics from before and after with what a scenario must leave in them.
#
#   scripts/validate-results.sh --scenario redis-master-failure --baseline baseline.json --post-chaos post.json \
#       --output redis-master-failure-validation.json
#
# The files are those of collect-metrics.sh; the verdict is one that generate-report.sh reads.
# Exit code 0: passed; 1: failed; 2: no such scenario, or a file that is none.
set -eu
. "$(dirname "$0")/chaos.sh"

case " $* " in *" -h "* | *" --help "*) usage ;; esac
chaos validate "$@"
