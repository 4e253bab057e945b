"""An alert-ingestion gateway: Alertmanager webhooks in, `RemediationRequest` objects with exact counts out.

Packages depend on each other in one direction only (`docs/architecture.md` draws it, import-linter checks it):
cli → app | dev → web → engine → state | kube → intake → resilience | telemetry → config → errors → model.
"""

__version__ = "0.1.0"
