"""What injects faults between the gateway and the things it depends on.

Toxiproxy does that for TCP. It cannot for the Kubernetes API, whose faults worth rehearsing lie above TLS: an answer of
429 or 409, or a write that was performed and whose answer was lost. For that there is `proxy`, steered by `rules`
from Python or over its `control` port.
"""
