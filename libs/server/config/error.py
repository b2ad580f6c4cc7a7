"""The error of an invalid setting."""

CHARACTERS_MAX = 64


def shown(value: str) -> str:
    """Return an invalid value in quotes, cut to CHARACTERS_MAX."""
    return repr(value if len(value) <= CHARACTERS_MAX else value[:CHARACTERS_MAX] + "…")


class ConfigError(Exception):
    """A variable is invalid or missing; states which one, the reason, and an example."""

    def __init__(self, variable: str, reason: str, example: str) -> None:
        """Store the parts of the sentence."""
        super().__init__(f"{variable} {reason}. Example: {variable}={example}")
        self.variable = variable
        self.reason = reason
        self.example = example
