"""What every command has in common: `--json`, where to connect, and what its exit code means."""

import functools
import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Concatenate, ParamSpec, TypeVar

import typer

from clarion_client import Client, InsecureTarget
from clarion_local.cli.connection import DEFAULT_FOLDER, Connection, Given, Identity, resolve
from clarion_local.cli.failures import EXPECTED, UNREACHABLE, UsageFault, failure, first_of
from clarion_local.cli.output import Output

P = ParamSpec("P")
FirstT = TypeVar("FirstT")

FolderOption = Annotated[
    Path, typer.Option("--folder", envvar="CLARION_FOLDER", metavar="DIR", help="Folder of the local stack.")
]
_JSON = Annotated[bool, typer.Option("--json", help="JSON on stdout and nothing else.")]
_CONNECTION: dict[str, tuple[object, object]] = {
    "via_folder": (FolderOption, DEFAULT_FOLDER),
    "via_endpoint": (
        Annotated[
            str,
            typer.Option(
                "--endpoint",
                envvar="CLARION_ENDPOINT",
                metavar="HOST:PORT",
                help="Gateway; default: the local stack's.",
            ),
        ],
        "",
    ),
    "via_key": (
        Annotated[
            str,
            typer.Option(
                "--app-key",
                envvar="CLARION_APP_KEY",
                metavar="KEY",
                help="Key; its secret is read from CLARION_APP_SECRET.",
            ),
        ],
        "",
    ),
    "via_ca_file": (
        Annotated[
            Path | None,
            typer.Option("--ca-file", envvar="CLARION_CA_FILE", metavar="FILE", help="Authority (PEM) of the gateway."),
        ],
        None,
    ),
    "via_timeout": (
        Annotated[float, typer.Option("--timeout", min=0.1, max=600, metavar="SECONDS", help="Of each call.")],
        10.0,
    ),
}
"""Parameter → annotation and default; the names are such that no command has them for something of its own."""
_APP: dict[str, tuple[object, object]] = {
    "via_app": (
        Annotated[
            str, typer.Option("--app", envvar="CLARION_APP", metavar="NAME", help="App whose remembered key is used.")
        ],
        "",
    ),
}


@dataclass(frozen=True, slots=True)
class Session:
    """A command at work: a client of the gateway, and where to say what came of it."""

    client: Client
    out: Output
    connection: Connection


def command(run: Callable[Concatenate[Output, P], None]) -> Callable[P, None]:
    """A command with `--json`; what it raises becomes its exit code."""

    @functools.wraps(run)
    def invoked(*args: P.args, **kwargs: P.kwargs) -> None:
        out = Output(as_json=bool(kwargs.pop("as_json")))
        with exit_codes(out):
            run(out, *args, **kwargs)

    _give_options(invoked, run, {})
    return invoked


def connected(identity: Identity) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[P, None]]:
    """A command of the gateway's clients, with the options that say which gateway and as whom."""

    common = {**_CONNECTION, **(_APP if identity is Identity.APP else {})}

    def decorate(run: Callable[Concatenate[Session, P], None]) -> Callable[P, None]:
        @functools.wraps(run)
        def invoked(*args: P.args, **kwargs: P.kwargs) -> None:
            out = Output(as_json=bool(kwargs.pop("as_json")))
            options = {name: kwargs.pop(name) for name in common}
            with exit_codes(out, "is the stack running, or CLARION_ENDPOINT right?"):
                timeout = timedelta(seconds=float(str(options["via_timeout"])))
                connection = resolve(_given(options), os.environ, identity)
                with _client(connection, timeout) as client:
                    run(Session(client, out, connection), *args, **kwargs)

        _give_options(invoked, run, common)
        return invoked

    return decorate


@contextmanager
def exit_codes(out: Output, hint: str = "") -> Iterator[None]:
    """Failures that are to be expected are shown and become the exit code; defects keep their traceback.

    `hint` is what people are asked when nobody answers.
    """
    try:
        yield
    except EXPECTED as error:
        shown = failure(error)
    except ExceptionGroup as group:
        # What several things that were started together raised: the first tells most.
        first = first_of(group)
        if group.split(EXPECTED)[1] is not None or not isinstance(first, EXPECTED):
            raise
        shown = failure(first)
    else:
        return
    out.fail(shown)
    if hint and shown.exit_code == UNREACHABLE:
        out.note(hint)
    raise typer.Exit(shown.exit_code)


def _client(connection: Connection, timeout: timedelta) -> Client:
    try:
        return Client.connect(
            connection.endpoint,
            connection.key.app_key,
            connection.key.app_secret,
            ca_file=connection.ca_file,
            timeout=timeout,
        )
    except OSError as error:
        raise UsageFault(f"{connection.ca_file}: {error.strerror}") from None
    except InsecureTarget as error:
        raise UsageFault(str(error)) from None


def _given(options: dict[str, object]) -> Given:
    ca_file = options["via_ca_file"]
    return Given(
        folder=Path(str(options["via_folder"])),
        endpoint=str(options["via_endpoint"]),
        app_key=str(options["via_key"]),
        ca_file=None if ca_file is None else Path(str(ca_file)),
        app=str(options.get("via_app", "")),
    )


def _give_options(
    invoked: Callable[..., None], run: Callable[..., None], options: dict[str, tuple[object, object]]
) -> None:
    """Show typer the command's own parameters (but the first, which is ours to give) and the common ones."""
    own: Sequence[inspect.Parameter] = list(inspect.signature(run, eval_str=True).parameters.values())[1:]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in {**options, "as_json": (_JSON, False)}.items()
    ]
    signature = inspect.Signature(
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + common
    )
    invoked.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it, functions do not declare it
