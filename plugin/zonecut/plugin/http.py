"""HTTP for adapters: one client with TLS and time limits, and its failures as errors of the Backend interface.

It needs httpx2, which comes with the extras of the adapters that use it: to be imported when such a backend is opened.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from zonecut.plugin.backend import BackendMisconfigured, BackendUnavailable
from zonecut.plugin.tls import client_context


def make_client(url: str, *, ca: Path | None, timeout: float, headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """A client for the interface below `url`; `ca` is a file of certificates to trust instead of the system's.

    No redirect is followed and no proxy used: what writes to a zone goes where the configuration says. `timeout` in
    seconds. Raises BackendMisconfigured for a file of certificates that cannot be used.
    """
    return httpx2.AsyncClient(
        base_url=url,
        headers=headers,
        verify=client_context(ca) if url.startswith("https:") else False,
        timeout=timeout,
        trust_env=False,
        follow_redirects=False,
    )


@asynccontextmanager
async def failures(url: str, patience: float) -> AsyncGenerator[None, None]:
    """Turn what can happen to a connection into BackendUnavailable or BackendMisconfigured.

    `patience`, in seconds, is what the exchange had.
    """
    try:
        yield
    except (TimeoutError, httpx2.TimeoutException):
        raise BackendUnavailable(f"{url} did not answer within {patience:g} s") from None
    except httpx2.ConnectError as error:
        if "certificate" in str(error).lower():
            raise BackendMisconfigured(f"{url} cannot prove who it is: {error}; look at `ca`") from error
        raise BackendUnavailable(f"{url} cannot be reached: {error}") from error
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise BackendUnavailable(f"{url}: the connection was lost ({error or type(error).__name__})") from error
    except (httpx2.InvalidURL, RuntimeError) as error:
        raise BackendUnavailable(f"{url}: {error}") from error
