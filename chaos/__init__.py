"""Rehearsing failures: what injects them, what drives the gateway meanwhile, and what judges it.

All of it works on the gateway from outside (HTTP, the Kubernetes API, its command line) and shares no code with it:
neither package imports the other, so that a mistake in one is not repeated by the other.
"""
