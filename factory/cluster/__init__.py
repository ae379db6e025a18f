"""Clusters: cluster files and node providers, a local cluster, and jobs submitted to any cluster."""
