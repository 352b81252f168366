"""Unsigned KeyState inquiries, each answered with a signature, of what the crypto library signs in a second.

Nothing is verified, so that nothing but the budget for strangers is between them and our signatures; it is out of the
way here.
"""

from pathlib import Path

from bench import keystate_of_limit
from bench.figures import Figure


def run(seconds: float, directory: Path) -> list[Figure]:
    return keystate_of_limit.measure(seconds, directory, "keystate_open_of_limit", signed=False)
