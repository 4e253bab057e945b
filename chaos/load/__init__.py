"""Load on real components or on any gateway: exact rates from Locust, samples of everything, and an audit at the end.

What runs inside Locust's processes is `locustfile` and `delivering`; nothing else may import these two, since Locust
patches the standard library for gevent. Everything else is plain asyncio, in the one process that plays a campaign.
"""
