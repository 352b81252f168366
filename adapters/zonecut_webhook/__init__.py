"""The adapter `webhook`: one parent zone in a provisioning system, which is told of changes by signed HTTP requests.

The system says yes, no with a reason, or later. README.md says what it has to implement.
"""

from zonecut.plugin import Adapter, Backend, BackendContext, BackendMisconfigured, hookimpl
from zonecut_webhook.options import WebhookOptions

__all__ = ["WebhookOptions", "zonecut_adapters"]


@hookimpl
def zonecut_adapters() -> list[Adapter]:
    """The adapter that this package brings."""
    return [Adapter(name="webhook", options=WebhookOptions, create=_create)]


def _create(context: BackendContext, options: WebhookOptions) -> Backend:
    try:
        # imported when it is used: the HTTP client is an extra
        from zonecut_webhook.backend import WebhookBackend
    except ModuleNotFoundError as error:
        raise BackendMisconfigured(
            f"the adapter webhook needs the Python package {error.name}: pip install 'zonecut[webhook]'"
        ) from error

    return WebhookBackend(context, options)
