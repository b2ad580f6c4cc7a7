"""The error of a wrong setting."""


class ConfigError(Exception):
    """A variable is wrong or missing; says which one, why, and shows an example."""

    def __init__(self, variable: str, why: str, example: str) -> None:
        """Keep the parts beside the sentence."""
        super().__init__(f"{variable} {why}. Example: {variable}={example}")
        self.variable = variable
        self.why = why
        self.example = example
