"""`clarion topics`."""

from typing import Annotated

import typer

from clarion_local.cli.command import Session, connected
from clarion_local.cli.connection import Identity
from clarion_local.cli.output import table, to_json

app = typer.Typer(no_args_is_help=True, help="Named groups that recipients subscribe to.")

_PAGE = 500

_TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="1-64 of a-z 0-9 _ -")]
_IdsArgument = Annotated[list[str], typer.Argument(metavar="ID...", help="Recipients, at most 1,000.")]


@app.command()
@connected(Identity.APP)
def subscribe(session: Session, topic: _TopicArgument, recipient_ids: _IdsArgument) -> None:
    """Subscribe recipients. Those who are subscribed stay so."""
    answer = session.client.topics.subscribe(topic, recipient_ids)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    for position in answer.unknown:
        session.out.note(f"no recipient has the id {recipient_ids[position]}")
    session.out.show(f"{answer.added} added")


@app.command()
@connected(Identity.APP)
def unsubscribe(session: Session, topic: _TopicArgument, recipient_ids: _IdsArgument) -> None:
    """Unsubscribe recipients."""
    answer = session.client.topics.unsubscribe(topic, recipient_ids)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"{answer.removed} removed")


@app.command()
@connected(Identity.APP)
def count(session: Session, topic: _TopicArgument) -> None:
    """Count the subscribers of a topic."""
    answer = session.client.topics.count(topic)
    if session.out.as_json:
        session.out.document(to_json(answer))
        return
    session.out.show(f"{answer.count} subscribers")


@app.command()
@connected(Identity.APP)
def of(session: Session, recipient_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """List a recipient's topics. With --json one page a line."""
    token = ""
    rows: list[tuple[str, ...]] = []
    while True:
        page = session.client.topics.of(recipient_id, page_size=_PAGE, page_token=token)
        if session.out.as_json:
            session.out.line(to_json(page))
        rows += [(topic,) for topic in page.topics]
        token = page.next_page_token
        if not token:
            break
    if not session.out.as_json:
        session.out.show(table("", ("topic",), rows))
