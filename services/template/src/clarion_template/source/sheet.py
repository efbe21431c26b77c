"""The texts of one channel in one locale, compiled together: one render of a program fills the slots of all of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import minijinja

from clarion_template.source import lexer, policy
from clarion_template.source.bounds import Bounded
from clarion_template.source.engine import Data
from clarion_template.source.formats import CONTEXT, Formatting
from clarion_template.source.policy import SEPARATOR
from clarion_template.source.split import Part, split

_LINKS = re.compile(r"<a|\bsafe\b", re.IGNORECASE)

MAX_RENDERED_CHARACTERS = 262_144
"""Most characters that one program renders to, literals excluded."""


@dataclass(frozen=True, slots=True)
class Text:
    """One source: `key` names it within its channel ("title", "html")."""

    key: str
    source: str
    html: bool = False


class Failure(Enum):
    """Why a text was not rendered."""

    MISSING_VARIABLE = "missing variable"
    TOO_LARGE = "too large"
    WRONG_TYPE = "wrong type"
    INVALID = "invalid"


class RenderFault(Exception):
    """The data does not go with the template. `message` holds no data."""

    def __init__(self, failure: Failure, message: str, variables: Sequence[str] = (), line: int = 0) -> None:
        super().__init__(message)
        self.failure = failure
        self.message = message
        self.variables = tuple(variables)
        self.line = line


@dataclass(frozen=True, slots=True)
class _Program:
    template: str
    slots: int


class Sheet:
    """Compiled texts. `fields` holds the parts of each by key, `required` the names without which nothing renders."""

    def __init__(self, environment: minijinja.Environment, name: str, texts: Sequence[Text]) -> None:
        """`name` is unique in the environment. Raises SourceFault, and CompileFault that names the text."""
        self._environment = environment
        self.fields: dict[str, tuple[Part, ...]] = {}
        self.used: frozenset[str] = frozenset()
        self.required: frozenset[str] = frozenset()
        self.linked: frozenset[int] = frozenset()
        """Slots of HTML that may hold links of their own."""
        self._formats = False
        self._programs: list[_Program] = []
        self._slots = 0
        for html in (False, True):
            self._compile(name, [text for text in texts if text.html is html], ".html" if html else ".txt")

    def _compile(self, name: str, texts: Sequence[Text], suffix: str) -> None:
        sources: list[str] = []
        slots = 0
        for text in texts:
            try:
                found = lexer.segments(text.source)
                usage = policy.check(text.source, found)
                parts = split(text.source, found)
                names = self._environment.undeclared_variables_in_str(text.source) - policy.FUNCTIONS - {"loop"}
                # Compiled for its faults alone: the program below has other lines.
                self._environment.add_template(f"{name}:check", text.source)
            except lexer.SourceFault as fault:
                raise CompileFault(text.key, fault.line, fault.message) from None
            except minijinja.TemplateError as error:
                raise CompileFault(text.key, error.line or 0, error.detail or error.kind) from None
            finally:
                self._environment.remove_template(f"{name}:check")
            self.used |= names
            self._formats |= usage.formats
            self.required |= {used for used in names if not usage.may_be_absent(used)}
            base = self._slots + slots
            self.fields[text.key] = tuple(part if isinstance(part, str) else part + base for part in parts.parts)
            if text.html:
                self.linked |= {base + slot for slot, source in enumerate(parts.slots) if _LINKS.search(source)}
            if parts.slots:
                joined = SEPARATOR.join(parts.slots)
                # What one text sets must not show in the next.
                sources.append(f"{{% with %}}{joined}{{% endwith %}}" if parts.assigns else joined)
                slots += len(parts.slots)
        if slots:
            self._environment.add_template(name + suffix, SEPARATOR.join(sources))
            self._programs.append(_Program(name + suffix, slots))
            self._slots += slots

    def slots(self, data: Data, zone: str = "") -> list[str]:
        """The value of every slot; times are in `zone` (IANA name) where a source names none. Raises RenderFault."""
        missing = self.required - data.keys()
        if missing:
            raise RenderFault(Failure.MISSING_VARIABLE, "variables are missing", sorted(missing))
        if self._formats:  # one budget for the texts of a channel together
            data = {**data, CONTEXT: Formatting(zone)}
        values: list[str] = []
        for program in self._programs:
            text = render(self._environment, program.template, data)
            found = text.split(SEPARATOR)
            if len(found) != program.slots:
                raise RenderFault(Failure.INVALID, "the data holds the reserved character U+FDD0")
            values += found
        return values

    def text(self, key: str, slots: Sequence[str]) -> str:
        """A whole text, its slots filled; empty where there is none of that key."""
        return "".join([part if isinstance(part, str) else slots[part] for part in self.fields.get(key, ())])


class CompileFault(lexer.SourceFault):
    """A SourceFault in the text `key`."""

    def __init__(self, key: str, line: int, message: str) -> None:
        super().__init__(line, message)
        self.key = key


def render(environment: minijinja.Environment, template: str, data: Data) -> str:
    """Render a template of the environment. Raises RenderFault."""
    try:
        text = environment.render_template(template, **data)
    except minijinja.TemplateError as error:
        raise _fault(environment, template, data, error) from None
    except Bounded as bounded:
        raise RenderFault(Failure.TOO_LARGE, str(bounded)) from None
    except (TypeError, ValueError, ArithmeticError):  # a filter of ours got what it is not made for
        raise RenderFault(Failure.INVALID, "a filter or function cannot take its arguments") from None
    if len(text) > MAX_RENDERED_CHARACTERS:
        raise RenderFault(Failure.TOO_LARGE, f"renders to more than {MAX_RENDERED_CHARACTERS} characters")
    return text


def _fault(
    environment: minijinja.Environment, template: str, data: Data, error: minijinja.TemplateError
) -> RenderFault:
    line = error.line or 0
    if error.kind == "UndefinedError":
        paths = environment.undeclared_variables_in_template(template, nested=True)
        missing = sorted(path for path in paths if path not in policy.FUNCTIONS and not _present(path, data))
        return RenderFault(Failure.MISSING_VARIABLE, "variables are missing", missing, line)
    if error.kind == "OutOfFuel":
        return RenderFault(Failure.TOO_LARGE, "takes too many steps", line=line)
    return RenderFault(Failure.INVALID, error.kind, line=line)


def _present(path: str, data: Data) -> bool:
    value: object = data
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return True
        if name not in value:
            return False
        value = value[name]
    return True
