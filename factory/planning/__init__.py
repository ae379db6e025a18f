"""Planning: what a run will take, before it runs.

    config ──workload_from_config──► Workload ──┐
    output of a small run ──pilot──► Pilot ─────┼──estimate──► Estimate ──summary──► intervals ──► tables, JSON
    section `planning` of the config ───────────┘      └──simulate─► the same run on 1 to 1,000 GPUs

Only `workload_from_config` looks at inputs and models; the rest is arithmetic on arrays of draws (`uncertainty`).
"""
