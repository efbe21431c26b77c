"""Templates that mean harm, stored, previewed and rendered, while a neighbour's render goes on."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
from google.protobuf.json_format import ParseDict

from clarion.internal.template.v1.template_service_pb2 import RenderRequest, RenderResponse
from clarion.internal.template.v1.template_service_pb2_grpc import TemplateServiceStub
from clarion.template.v1 import template_service_pb2 as pb
from clarion.types.v1.channel_pb2 import CHANNEL_EMAIL, CHANNEL_IOS, CHANNEL_SMS
from clarion_client import ClarionError, Content, FailedPrecondition, InvalidArgument, Mail

from .finding import Finding, Size
from .stage import Stage
from .template_payloads import Payload, payloads

MAX_SHOWN_BYTES = 4 << 20
"""Of one preview: gRPC's own limit of an answer, above what three texts of 262,144 characters take."""
_SHORT = 36
_CALL_SECONDS = 60.0
_PAUSE_SECONDS = 0.02
_NEIGHBOUR = "neighbour"
_TRACES = ("root:x:0:", "object at 0x", "<class '", "<built-in", "<function", "site-packages/", "PRIVATE KEY")
"""What shows when a template has got hold of a file or of the process."""
_LARGE = {"x": "a" * 16_000, "l": [1.0] * 500, "m": {"k": "v" * 1_000}, "n": 3.0}
_SMALL = {"x": "a" * 100, "l": [1.0, 2.0, 3.0], "m": {"k": "v"}, "n": 3.0}


@dataclass(slots=True)
class _Neighbour:
    """What another app notices."""

    renders: int = 0
    slowest_seconds: float = 0.0
    faults: int = 0


async def attack(stage: Stage, size: Size) -> Finding:
    """Each is refused, or what it shows is bounded and holds nothing of the process."""
    escapes: list[str] = []
    results: Counter[str] = Counter()
    secrets = [*_TRACES, *_secrets(stage)]
    every = payloads()
    chosen = every if size is Size.FULL else _some(stage, every)
    async with stage.daemon_channel("template", "planner") as channel, _neighbour(stage, channel) as neighbour:
        for place, payload in enumerate(chosen):
            shown = await _try(stage, channel, payload, f"attack-{place % 50}", results, escapes)
            for text in shown:
                escapes += _judged(payload, text, secrets)
    if neighbour.faults or neighbour.renders == 0:
        escapes.append(
            f"a neighbour's template was rendered {neighbour.renders} times, and failed {neighbour.faults} times"
        )
    notes = {
        "refused": results["refused"],
        "stored": results["stored"],
        "neighbour_renders": neighbour.renders,
        "neighbour_slowest_ms": round(neighbour.slowest_seconds * 1_000),
    }
    return Finding("template", len(chosen), escapes, notes)


async def _try(
    stage: Stage,
    channel: grpc.aio.Channel,
    payload: Payload,
    name: str,
    results: Counter[str],
    escapes: list[str],
) -> list[str]:
    """Texts that came of it: of the preview with the samples, and of renders as the planner asks for them."""
    partials = [pb.Partial(name=called, source=source) for called, source in payload.partials.items()]
    template = pb.Template(
        name=name, bodies=[pb.LocalizedBody(locale="en", content=payload.content())], partials=partials
    )
    ParseDict(_SMALL, template.sample_data)
    client = stage.attacker.client
    try:
        stored = await client.templates.store(template)
        results["stored"] += 1
        preview = await client.templates.preview(name, version=stored.version)
    except (InvalidArgument, FailedPrecondition) as refused:
        results["refused"] += 1
        return [str(refused), *(f"{fault.field} {fault.description}" for fault in refused.field_faults)]
    except ClarionError as other:
        escapes.append(f"{_named(payload)} was answered {other!r}")
        return []
    rendered = await _render(channel, stage.attacker_id, name, stored.version, _LARGE)
    return [str(preview.content), *(str(shown) for item in rendered.items for shown in item.channels)]


async def _render(
    channel: grpc.aio.Channel, app_id: int, name: str, version: int, data: Mapping[str, object]
) -> RenderResponse:
    """As the planner asks for it."""
    item = RenderRequest.Item(
        app_id=app_id, template=name, version=version, channels=[CHANNEL_IOS, CHANNEL_SMS, CHANNEL_EMAIL]
    )
    ParseDict(dict(data), item.data)
    answer: RenderResponse = await TemplateServiceStub(channel).Render(
        RenderRequest(items=[item]), timeout=_CALL_SECONDS
    )
    return answer


@asynccontextmanager
async def _neighbour(stage: Stage, channel: grpc.aio.Channel) -> AsyncIterator[_Neighbour]:
    """Another app's template is rendered again and again while entered."""
    seen = _Neighbour()
    content = Content(sms="{{ x }}", mail=Mail(subject="{{ x }}", text="{{ x }}", html="<p>{{ x }}</p>"))
    stored = await stage.victim.client.templates.put(_NEIGHBOUR, {"en": content}, sample_data={"x": "1"})

    async def render() -> None:
        while True:
            began = time.monotonic()
            try:
                answer = await _render(channel, stage.victim_id, _NEIGHBOUR, stored.version, {"x": "whole"})
            except grpc.aio.AioRpcError:
                seen.faults += 1
            else:
                seen.faults += sum(1 for shown in answer.items[0].channels if shown.error)
                seen.renders += 1
            seen.slowest_seconds = max(seen.slowest_seconds, time.monotonic() - began)
            await asyncio.sleep(_PAUSE_SECONDS)

    rendering = asyncio.create_task(render())
    try:
        yield seen
    finally:
        rendering.cancel()
        await asyncio.wait([rendering])


def _judged(payload: Payload, text: str, secrets: Sequence[str]) -> Iterator[str]:
    if len(text) > MAX_SHOWN_BYTES:
        yield f"{_named(payload)} showed {len(text)} characters"
    for secret in secrets:
        if secret in text and secret not in payload.source:
            yield f"{_named(payload)} showed what begins with {secret[:6]!r}"


def _secrets(stage: Stage) -> Iterator[str]:
    """What the daemons were started with and must not tell."""
    ends = stage.stack.endpoints
    yield from (ends.database_url, ends.nats_url, ends.valkey_url, ends.admin_secret, str(stage.folders.keys))
    for path in sorted(stage.folders.keys.iterdir()):
        text = path.read_text().strip()
        try:
            document = json.loads(text)
        except ValueError:
            yield text
        else:
            yield from (value for value in _strings(document) if len(value) >= 16)


def _strings(document: object) -> Iterator[str]:
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for value in document.values():
            yield from _strings(value)
    elif isinstance(document, list):
        for value in document:
            yield from _strings(value)


def _some(stage: Stage, every: Sequence[Payload]) -> list[Payload]:
    """A few of each kind."""
    kinds = sorted({payload.wants for payload in every})
    random = stage.random("template")
    return [
        payload
        for kind in kinds
        for payload in random.sample([one for one in every if one.wants == kind], _SHORT // len(kinds))
    ]


def _named(payload: Payload) -> str:
    return f"{payload.source[:60]!r} in the {payload.place.value}"
