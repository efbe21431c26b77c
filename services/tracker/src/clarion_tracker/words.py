"""Words that people answer an SMS with: STOP, START and HELP in their languages. Pure.

A message counts only if it is nothing but such a word: "please do not stop" stops nothing.
"""

import tomllib
import unicodedata
from collections.abc import Mapping
from enum import Enum
from importlib.resources import files
from typing import Self

MAX_LENGTH = 32
"""No word is longer; longer messages are not looked at."""


class Command(Enum):
    """What a message asks for."""

    STOP = "stop"
    START = "start"
    HELP = "help"


class Words:
    """The known words of all languages."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands

    @classmethod
    def load(cls) -> Self:
        """The words of words.toml. Raises ValueError for a word with two meanings or one that is too long."""
        languages = tomllib.loads(files("clarion_tracker").joinpath("words.toml").read_text("utf-8"))
        commands: dict[str, Command] = {}
        for meanings in languages.values():
            for meaning, words in meanings.items():
                for word in words:
                    if len(word) > MAX_LENGTH or commands.setdefault(_folded(word), Command(meaning)).value != meaning:
                        raise ValueError(f"the word {word!r} is too long or has two meanings")
        return cls(commands)

    def command(self, text: str) -> Command | None:
        """What a whole message asks for, None if it is anything else."""
        trimmed = text.strip()
        return self._commands.get(_folded(trimmed)) if len(trimmed) <= MAX_LENGTH else None


def _folded(text: str) -> str:
    """Without differences of case, width and composition: letters may come full-width, and accents by themselves."""
    return unicodedata.normalize("NFKC", text).casefold()
