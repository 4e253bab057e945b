"""The cluster way: Chaos Mesh, and the sidecars of `manifests/gateway-with-sidecars.yaml`, steered with kubectl.

It also takes what it finds: a gateway by its URL, an embedded one included, of which it can then play only what needs
nothing else.
"""
