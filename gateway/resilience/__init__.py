"""How work goes on when something fails: delays between attempts, breakers and their probes, tasks that are watched
over, a watch on the loop, and the form in which a check says what it found.

Nothing here knows Redis, Kubernetes or HTTP, and nothing counts: whoever wants to know is told through a
callback.
"""
