"""Planning: what a run will take, before it runs.

    config ──plan_of_config──► Planner ──summary──► intervals, the same run on 1 to 1,000 GPUs ──► tables, JSON
                                  ▲
    section `planning` of the config, and output of a small run (`pilot`)

Only `plan_of_config` looks at inputs and models; the rest is arithmetic on arrays of draws (`uncertainty`). What was
measured or published is in `constants`.
"""
