"""Files and tables on local disk and in buckets: atomic writes, manifests, locks, shuffles."""
