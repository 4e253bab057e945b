#!/bin/sh
# Starts one server of the Redis that the chart brings along to try things out, or its Sentinel.
#
#   redis.sh server | sentinel
#
# PEERS   names of the servers, blanks between them; the first one is the master of a new group
# SELF    which of them this one is
# BIND    the address to listen on (*)
# DIR     what is written goes here
set -eu

# The master as the Sentinels know it, where one of them answers; nothing at the very beginning.
known_master() {
    for peer in $PEERS; do
        known=$(redis-cli -h "$peer" -p 26379 --raw sentinel get-master-addr-by-name mymaster 2>/dev/null | head -n 1) ||
            known=""
        case "$known" in "" | *" "*) ;; *) echo "$known" && return ;; esac
    done
}

# Writes are kept, and never given up for others: `noeviction` is what the gateway wants.
server() {
    set -- --port 6379 --bind "$BIND" --protected-mode no --dir "$DIR" --appendonly yes --save "" \
        --maxmemory "${MAXMEMORY:-0}" --maxmemory-policy noeviction
    if [ "$PEERS" != "$SELF" ]; then
        master=$(known_master)
        master=${master:-${PEERS%% *}}
        set -- "$@" --replica-announce-ip "$SELF"
        [ "$master" = "$SELF" ] || set -- "$@" --replicaof "$master" 6379
    fi
    exec redis-server "$@"
}

sentinel() {
    master=$(known_master)
    cat >"$DIR/sentinel.conf" <<CONF
port 26379
bind $BIND
protected-mode no
dir $DIR
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $SELF
sentinel monitor mymaster ${master:-${PEERS%% *}} 6379 2
sentinel down-after-milliseconds mymaster 3000
sentinel failover-timeout mymaster 10000
sentinel parallel-syncs mymaster 1
CONF
    exec redis-server "$DIR/sentinel.conf" --sentinel
}

BIND=${BIND:-*}
case "$1" in server | sentinel) "$1" ;; *) echo "redis.sh: server or sentinel" >&2 && exit 2 ;; esac
