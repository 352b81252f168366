"""Who runs a command, for the audit trail."""

import os
import pwd


def operator() -> str:
    """`operator:` and the login name; that of the person behind sudo, where there is one."""
    return f"operator:{os.environ.get('SUDO_USER') or _account()}"


def _account() -> str:
    # The account first: a login name says who opened the terminal, which a service or `su` may have inherited.
    try:
        account = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        account = f"uid {os.getuid()}"
    if os.getuid() != 0:
        return account
    try:
        return os.getlogin()
    except OSError:
        return account
