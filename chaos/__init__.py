"""Rehearsing failures: what injects them, what drives the gateway meanwhile, and what judges it.

All of it works on the gateway from outside (HTTP, the Kubernetes API, metrics, its command line) and shares no code
with it: neither package imports the other, so that a mistake in one is not repeated by the other.

    scenarios/   what is rehearsed, one file each; the same for both ways of injecting
    local/       real processes on this machine        cluster/    Chaos Mesh and sidecars in a cluster
    gateways/    the configuration of the gateways in each scenario, used by both
    manifests/   what the cluster way applies          faults/     the fault proxy before the Kubernetes API
    reports/     JSON, Markdown, HTML, JUnit           recordings/ storms to be replayed
"""
