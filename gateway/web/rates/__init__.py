"""How much one sender, one address or one namespace may post.

Here belong the windows as this process knows them (`takes`), deciding over them together with the other replicas
(`limiter`), and what a sender is told (`limits`). Where the shared windows are kept is not known here: see
`gateway.web.ports.SharedWindows`.
"""
