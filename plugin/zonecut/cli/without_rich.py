"""structlog, imported so that it does not find rich, whose tracebacks would cost a daemon 5 MB of memory.

To be imported before whatever logs.
"""

import sys

if "structlog" in sys.modules or "rich" in sys.modules:
    import structlog
else:
    sys.modules["rich"] = None  # type: ignore[assignment]
    try:
        import structlog
    finally:
        del sys.modules["rich"]

__all__ = ["structlog"]
