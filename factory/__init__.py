"""The character factory: personas in, a role-playing language model and its score out."""

import os

# A call into Ray before `ray.init` starts Ray by itself, and joins whatever head somebody left on this machine, or
# waits 10 minutes for it. With this, which Ray reads when it is imported, such a call is an error at once.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")

__version__ = "0.1.0"
