"""HTTP: bytes in, an answer out.

Here belong the listeners, the one path that every request takes (`shell`), what is checked before a handler
sees it, and the handlers. What an alert means is decided in `intake`, what becomes of it in `engine`; nothing
here knows Redis or Kubernetes.
"""
