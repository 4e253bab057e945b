"""How work goes on when something fails: delays between attempts, tasks that are watched over, a watch on the
loop.

Nothing here knows Redis, Kubernetes or HTTP, and nothing counts: whoever wants to know is told through a
callback.
"""
