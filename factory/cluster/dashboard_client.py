"""One-line errors for requests to a cluster's dashboard, which is also its job server."""

from collections.abc import Iterator
from contextlib import contextmanager

from factory.errors import FactoryError, UnreachableError


@contextmanager
def dashboard_errors(address: str) -> Iterator[None]:
    """Convert the exceptions of requests to a dashboard into one-line errors.

    Raises:
        UnreachableError: it does not respond, or rejects the token.
        FactoryError: it reports a failure.
    """
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError
    from ray.util.state.exception import RayStateApiException, ServerUnavailable

    try:
        yield
    except AuthenticationError:
        raise UnreachableError(
            f"ADDRESS={address}: the cluster rejects this machine's token; set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to a file with the token of the cluster's head"
        ) from None
    except (ConnectionError, requests.RequestException, aiohttp.ClientError, ServerUnavailable):
        raise UnreachableError(
            f"ADDRESS={address}: no head responds there; check the URL of the dashboard, and open its tunnel again "
            "if it was closed"
        ) from None
    except (RuntimeError, RayStateApiException) as problem:
        lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
        raise FactoryError(f"ADDRESS={address}: {lines[-1] if lines else 'no reason given'}") from None
