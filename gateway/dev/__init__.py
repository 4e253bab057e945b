"""Embedded mode: a private Redis and a small Kubernetes API, started inside the process, and the demo's recordings.

For development, demos and tests on a machine that has nothing installed. Nothing here is imported by the service, and
nothing of the service is imported here: what stands in for a dependency must not share code with what depends on it.
"""
