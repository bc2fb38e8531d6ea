"""Our own HTTP surface: how we are, what the ledger says, and where generations are handed in.

health         /healthz and /readyz
metrics        /metrics, in the form Prometheus reads
reports        /api/v1/...: the documents of the commands
ingest         /v1/generations: ids, and what is known of each
traces         /v1/traces: OpenRouter's Broadcast, which `broadcast` reads without its content
openapi        /openapi.json: all of it, for machines; `shapes` are its documents
bearer, bodies, intake_queue, refusals   who may ask, how much is read, how it is written, and what is said if not
server         the app, and the socket it is served on
"""
