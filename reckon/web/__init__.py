"""Our own HTTP surface: whether we live, whether we are ready, and the figures for machines. Read-only.

health    /healthz and /readyz
metrics   /metrics, in the form Prometheus reads
server    the app, and the socket it is served on
"""
