"""A value that must not be shown."""


class Secret:
    """Holds a credential; only `reveal` gives it away, never `repr`, `str`, formatting or pickling."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce__(self) -> str:
        raise TypeError("a secret cannot be pickled")
