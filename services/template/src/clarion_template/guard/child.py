"""The guarded child: `python -m clarion_template.guard.child`, driven over stdin and stdout, ended by the end of stdin.

It also compiles MJML and makes texts of HTML. The kernel ends it after 100 ms of CPU on one request or when it wants more than
its memory: nothing a template does inside one native call can prevent that.
"""

import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import minijinja

from clarion_template.guard import mjml
from clarion_template.guard.inflate import worst_cases
from clarion_template.guard.protocol import (
    LENGTH,
    MAX_FRAME_BYTES,
    Conversion,
    Into,
    Request,
    fault_to_frame,
    pack,
    request_from_body,
)
from clarion_template.source import engine, plain_text
from clarion_template.source.formats import CONTEXT, Formatting
from clarion_template.source.lexer import SourceFault
from clarion_template.source.sheet import Failure, RenderFault, render

CPU_SECONDS = 0.1
HEADROOM_BYTES = 96 << 20
"""Address space that a render may take on top of the interpreter's own: what the daemon could bear, too."""


def main() -> None:
    """Serve until stdin ends."""
    environment = engine.environment()
    memory_bytes = _address_space_bytes() + HEADROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while (request := _read(requests)) is not None:
        # SIGPROF's default action ends the process; the timer counts CPU, so a busy machine ends nobody.
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        try:
            made = convert(request) if isinstance(request, Conversion) else answer_to(environment, request)
            answer = pack(made)
        except RenderFault as fault:
            answer = fault_to_frame(fault)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(answer)
        answers.flush()


def answer_to(environment: minijinja.Environment, request: Request) -> str:
    """The rendered source. Raises RenderFault."""
    name = f"{request.locale}/draft.{'html' if request.html else 'txt'}"
    try:
        environment.add_template(name, request.source)
    except minijinja.TemplateError as error:
        raise RenderFault(Failure.INVALID, error.detail or error.kind, line=error.line or 0) from None
    try:
        text = render(environment, name, {**request.data, CONTEXT: Formatting(request.zone)})
        if request.worst:
            for data in worst_cases(request.data):
                with suppress(RenderFault):
                    render(environment, name, {**data, CONTEXT: Formatting(request.zone)})
    finally:
        environment.remove_template(name)
    return text


def convert(request: Conversion) -> str:
    """The source in its new markup. Raises RenderFault."""
    try:
        return mjml.to_html(request.source) if request.into is Into.HTML else plain_text.from_html(request.source)
    except SourceFault as fault:
        raise RenderFault(Failure.INVALID, fault.message, line=fault.line) from None


def _address_space_bytes() -> int:
    """What this process has mapped: the first field of statm, in pages (proc_pid_statm(5))."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _read(requests: BinaryIO) -> Request | Conversion | None:
    head = requests.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    if length > MAX_FRAME_BYTES:
        return None
    body = requests.read(length)
    return request_from_body(body) if len(body) == length else None


if __name__ == "__main__":
    main()
