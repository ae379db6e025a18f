"""The engine replicas of a run: a pool per engine, which all steps of the run share, and the routers that fill it.

    tasks that read ──shards──► Router ──one request each──► EngineReplica
                                  │ load, progress, losses        ▲ starts, closes
                                  └──────────► EnginePools ───────┘

Ray Data moves whole shards, and keeps the thin tasks around the router; the router gives single requests to the
replica with the fewest. So the longest reply of a shard keeps no slot idle, the last shards are spread over all
replicas, and a lost replica's requests go to the others at once.
"""
