"""How a look-up or its validation ends early. Only ResolveError leaves this package."""


class ResolveError(Exception):
    """Look-ups are set up wrongly; the text names the setting, file or line, and what would be right."""


class NoAnswer(Exception):
    """Nothing usable was received; the text says from whom and why."""


class Bogus(Exception):
    """Validation failed where it should succeed; the text names the record and the rule."""


class Undecided(Exception):
    """Neither a chain of signatures nor a proof that there is none could be had; the text says what is missing."""
