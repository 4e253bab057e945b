#!/bin/sh
# Plays all scenarios on a gateway that runs, in a cluster or anywhere: baseline, injection, load, watch, clean-up,
# validation, and a minute of rest after each.
#
#   scripts/run-all-chaos-tests.sh
#   scripts/run-all-chaos-tests.sh concurrent-updates redis-master-failure --cooldown 10 --results results/tonight
#   scripts/run-all-chaos-tests.sh --short           with shortened times
#   scripts/run-all-chaos-tests.sh --local           processes on this machine instead, as `make chaos` does
#
# Reads GATEWAY_URL, GATEWAY_METRICS_URL, GATEWAY_TOKEN, GATEWAY_ADMIN_TOKEN and KUBECONFIG. What cannot be injected
# there is NOT RUN, and said so. Results: SCENARIO-baseline.json, -load.jsonl, -gateway.log, -post.json and
# -validation.json, and the reports. Exit code 0: all that were played have passed; 1: not.
set -eu
. "$(dirname "$0")/chaos.sh"

where=--cluster length=--full
for word in "$@"; do
    shift
    case $word in
        -h | --help) usage ;;
        --local) where= ;;
        --short) length= ;;
        *) set -- "$@" "$word" ;;
    esac
done
chaos run $where $length --cooldown 60 "$@"
