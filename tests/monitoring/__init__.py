"""Dashboards, rules, log queries and pages for operators, held against the gateway and a real Prometheus."""
