"""Everything that touches the Kubernetes API: the client, the watched index, and what requests look like.

Errors of the API and of the HTTP library become `gateway.errors.Kube*` here and go no further. What belongs
elsewhere: when to write, to which request, and what to do when it fails (`gateway.engine`).

    stored       what the gateway keeps of an object
    decoding     … made straight from the bytes of an answer
    index        the requests as last seen, and the deleted ones for an hour           (pure)
    holding      … and which aggregated ones have a fingerprint as a member            (pure)
    objects      names, labels and bodies of requests                                  (pure)
    storms       … of aggregated ones                                                  (pure)
    sharing      what many alerts have in common                                       (pure)
    members      the members of an aggregated request, as it stores them               (pure)
    fitting      … brought into what etcd stores                                       (pure)
    answers      statuses and failures → the error tree                                (pure)
    connection   configuration, credentials, one pooled HTTP session
    proxies      … and which proxy it goes through                                     (pure)
    client       the calls, typed
    reflector    list and watch, for ever
    namespaces   which namespaces exist, and what environment they say they are
    observing    what metrics subscribe to
"""
