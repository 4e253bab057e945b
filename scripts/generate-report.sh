#!/bin/sh
# Writes the reports (Markdown, HTML with pictures, JUnit XML, JSON) over a folder of results.
#
#   scripts/generate-report.sh --results-dir results/chaos
#
# Exit code 0: all that were played have passed; 1: not; 2: there are no results.
set -eu
. "$(dirname "$0")/chaos.sh"

case " $* " in *" -h "* | *" --help "*) usage ;; esac
chaos report "$@"
