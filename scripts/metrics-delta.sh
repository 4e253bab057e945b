#!/bin/sh
# Shows what happened between two looks at a gateway's metrics: growth and rates of counters, gauges before and after,
# means and quantiles of what the histograms got meanwhile (interpolated as Prometheus' histogram_quantile does).
#
#   curl -s http://gateway:9090/metrics > before.prom
#   scripts/metrics-delta.sh before.prom after.prom
#   scripts/metrics-delta.sh before.prom http://gateway:9090/metrics
#   scripts/metrics-delta.sh before.prom after.prom --seconds 60 --output json
#
# Rates are by the times of the files, unless --seconds says how far apart they are; --all shows what did not move, too.
# Exit code 0: compared; 1: compared, but the process was started anew in between, so that growth is that since its
# start; 2: a source cannot be read, or is no exposition.
set -eu
. "$(dirname "$0")/chaos.sh"

case " $* " in *" -h "* | *" --help "*) usage ;; esac
chaos delta "$@"
