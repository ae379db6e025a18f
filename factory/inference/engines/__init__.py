"""The engines, each one module behind the interface in `backend`, and the `registry` that finds them by kind."""
