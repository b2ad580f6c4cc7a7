"""The error of a wrong setting."""

CHARACTERS_MAX = 64


def shown(value: str) -> str:
    """Return a wrong value fit for the sentence: in quotes, and no longer than helps."""
    return repr(value if len(value) <= CHARACTERS_MAX else value[:CHARACTERS_MAX] + "…")


class ConfigError(Exception):
    """A variable is wrong or missing; says which one, why, and shows an example."""

    def __init__(self, variable: str, why: str, example: str) -> None:
        """Keep the parts beside the sentence."""
        super().__init__(f"{variable} {why}. Example: {variable}={example}")
        self.variable = variable
        self.why = why
        self.example = example
