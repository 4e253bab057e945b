"""What is generated for operators: dashboards, the rules of the objectives, and the page about the metrics.

`python -m scripts.monitoring` (or `make generated`) writes them; tests check that what is committed is current.
"""
