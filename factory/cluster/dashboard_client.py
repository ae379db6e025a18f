"""What a cluster's dashboard, which takes jobs, answers where it cannot be reached."""

from collections.abc import Iterator
from contextlib import contextmanager

from factory.errors import FactoryError, UnreachableError


@contextmanager
def reached(address: str) -> Iterator[None]:
    """Tell in one line why a dashboard cannot be asked.

    Raises:
        UnreachableError: it does not answer, or does not take the token.
        FactoryError: it answers with a failure of its own.
    """
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError
    from ray.util.state.exception import RayStateApiException, ServerUnavailable

    try:
        yield
    except AuthenticationError:
        raise UnreachableError(
            f"ADDRESS={address}: it does not take this machine's token; set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to a file that holds the token of its head"
        ) from None
    except (ConnectionError, requests.RequestException, aiohttp.ClientError, ServerUnavailable):
        raise UnreachableError(
            f"ADDRESS={address}: no head answers there, or none any more; give the URL of a head's dashboard, and "
            "open its tunnel again"
        ) from None
    except (RuntimeError, RayStateApiException) as problem:
        lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
        raise FactoryError(f"ADDRESS={address}: {lines[-1] if lines else 'no reason given'}") from None
