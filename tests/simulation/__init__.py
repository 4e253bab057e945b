"""The real engine under virtual time, with every fault that a network, Redis and Kubernetes can produce.

The engine is ordinary asyncio code against ports. Here the ports are in-memory twins behind a wire that loses, delays
and repeats, and the event loop's clock jumps from one timer to the next: hours pass in milliseconds, every choice
comes from one seed, and the same seed gives the same schedule.
"""
