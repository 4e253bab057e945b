"""The engine: how an accepted alert becomes an exact count in Kubernetes.

`engine` is the way of an alert; `admitting` makes it durable, `reconciling` writes what is due, `repairing` asserts
and heals. What they decide is pure and elsewhere: `ledger` (what this process accepted), `marks` (what a request
counts), `planning` (what to write next), `healing` (who gives up what). Nothing here knows HTTP, Redis commands or
JSON of Kubernetes; all clocks and connections are handed in.
"""
