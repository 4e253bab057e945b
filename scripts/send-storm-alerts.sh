#!/bin/sh
# Sends a storm: so many alerts about pods of one deployment, evenly over a time.
#
#   scripts/send-storm-alerts.sh --count 200 --duration 60s
#   scripts/send-storm-alerts.sh --count 30 --duration 1m --alert-name NodeNotReady --namespace prod-api --output sent.jsonl
#
# Reads GATEWAY_URL and GATEWAY_TOKEN. All options are those of `gateway send --storm`; what is answered 5xx is sent
# again, as Alertmanager does. Exit codes: those of `gateway --help`.
set -eu
. "$(dirname "$0")/chaos.sh"

case " $* " in *" -h "* | *" --help "*) usage ;; esac
count=200 seconds=60s left=$#
while [ "$left" -gt 0 ]; do
    word=$1 left=$((left - 1))
    shift
    case $word in
        --count) count=${1:?--count takes a number} left=$((left - 1)) && shift ;;
        --duration) seconds=${1:?--duration takes a time, as 60s or 2m} left=$((left - 1)) && shift ;;
        *) set -- "$@" "$word" ;;
    esac
done
case $seconds in
    *m) length=$((${seconds%m} * 60)) ;;
    *s) length=${seconds%s} ;;
    *) length=$seconds ;;
esac
rate=$(awk "BEGIN { printf \"%.3f/s\", $count / $length }")
gateway send --storm --count "$count" --distinct "$count" --rate "$rate" --retries 20 "$@"
