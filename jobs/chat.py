"""The playground: a page on which one makes a character and talks to it, the base model and the tuned one side by side.

python jobs/chat.py --config jobs/configs/demo.yaml [section.key=value ...]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # also under `ray job submit --working-dir .`

from factory.job import Job, main
from factory.playground.plan import check, local_cpus, plan


def chat(job: Job) -> None:
    """Serve until it is ended."""
    from factory.playground.run import serve_until_stopped  # Ray Serve takes seconds: what is wrong is told before

    serve_until_stopped(job)


if __name__ == "__main__":
    main(chat, check, plan, __doc__, local_cpus)
