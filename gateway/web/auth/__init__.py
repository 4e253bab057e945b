"""Who sends this? One module a mode, and the guard that asks those of them that are configured.

A mode is an `Authenticator`: from what a request shows of its sender it makes an `Identity` or a `Refusal`, and does
nothing else. The guard counts, chooses among several modes and makes the answer. What a mode needs of Redis or
Kubernetes is handed in (`web.ports`). Whether an authenticated sender may post a certain alert is policy, and not
decided here.
"""
