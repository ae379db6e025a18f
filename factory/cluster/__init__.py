"""Clusters: the files that launch one and their node providers, the one on this machine, and jobs sent to any."""
