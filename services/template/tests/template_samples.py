"""A template service over dictionaries, and templates to put into it."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import grpc

from clarion.internal.template.v1 import template_service_pb2 as internal
from clarion.template.v1 import template_service_pb2 as pb
from clarion.types.v1.channel_pb2 import Channel
from clarion.types.v1.content_pb2 import Content, MailContent, PushContent, SmsContent
from clarion_kit.errors import Unavailable
from clarion_kit.rpc.caller import Caller, calling_as
from clarion_kit.telemetry.metrics import Metrics
from clarion_template.adapters.guard import GuardedChild
from clarion_template.authoring import Author
from clarion_template.catalog import Catalog
from clarion_template.domain import Current, Listed, NewVersion, Stored, Summary, Use, VersionKey
from clarion_template.ports import Store
from clarion_template.render_rpc import RenderRpc
from clarion_template.rpc import TemplateRpc

IOS, ANDROID, SMS, EMAIL = (
    Channel.CHANNEL_IOS,
    Channel.CHANNEL_ANDROID,
    Channel.CHANNEL_SMS,
    Channel.CHANNEL_EMAIL,
)
Sample = str | int | None | Sequence[str]
HTML = "<html><body><h1>Hi {{ name }}</h1>{% for i in items %}<p>{{ i }}</p>{% endfor %}</body></html>"


class FakeClock:
    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.seconds


class Memory:
    """The port Store over dictionaries; `away` makes it fail, `asked` counts look-ups of published versions."""

    def __init__(self) -> None:
        self.stored: dict[VersionKey, NewVersion] = {}
        self.current: dict[tuple[int, str], int] = {}
        self.archived: set[tuple[int, str]] = set()
        self.stored_partials: dict[tuple[int, str, int], pb.Partial] = {}
        self.uses: list[Use] = []
        self.away = False
        self.asked = 0

    async def put(self, new: NewVersion, *, publish: bool) -> int:
        known = [key for key, old in self.stored.items() if (key.app_id, key.name) == (new.app_id, new.name)]
        same = [key.version for key in known if self.stored[key].sha256 == new.sha256]
        version = same[0] if same else len(known) + 1
        self.stored.setdefault(VersionKey(new.app_id, new.name, version), new)
        if publish:
            self.current[new.app_id, new.name] = version
        return version

    async def get(self, key: VersionKey) -> Stored | None:
        if self.away:
            raise Unavailable
        new = self.stored.get(key)
        return Stored(key, new.document, datetime.now(UTC), new.created_by, new.source) if new else None

    async def summaries(self, app_id: int, *, archived: bool = False) -> list[Summary]:
        return []

    async def versions(self, app_id: int, name: str, *, before: int, most: int) -> list[Listed]:
        return []

    async def publish(self, key: VersionKey, by: str) -> bool:
        if key in self.stored:
            self.current[key.app_id, key.name] = key.version
        return key in self.stored

    async def archive(self, app_id: int, name: str, *, restore: bool) -> bool:
        (self.archived.discard if restore else self.archived.add)((app_id, name))
        return (app_id, name) in self.current

    async def used_by(self, app_id: int, name: str, *, most: int) -> list[Use]:
        return self.uses[:most]

    async def published(self, names: Sequence[tuple[int, str]]) -> list[Current]:
        if self.away:
            raise Unavailable
        self.asked += 1
        return [Current(self.current.get(name, 0), self.current.get(name, 0), name in self.archived) for name in names]

    async def put_partial(self, app_id: int, partial: pb.Partial, by: str) -> int:
        version = sum(1 for _, name, _ in self.stored_partials if name == partial.name) + 1
        self.stored_partials[app_id, partial.name, version] = partial
        return version

    async def partials(self, app_id: int, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], pb.Partial]:
        found: dict[tuple[str, int], pb.Partial] = {}
        for name, version in wanted:
            for (owner, known, number), partial in self.stored_partials.items():
                if (owner, known) == (app_id, name) and version in (0, number):
                    found[name, version] = pb.Partial()
                    found[name, version].CopyFrom(partial)
                    found[name, version].version = number
        return found

    async def partial_names(self, app_id: int) -> list[tuple[str, int]]:
        return []


class Service:
    """Both services over one store, called as app 7."""

    def __init__(self, store: Store, guard: GuardedChild) -> None:
        self.clock = FakeClock()
        self.catalog = Catalog(store, self.clock, 1 << 20)
        self.public = TemplateRpc(store, Author(store, guard), self.catalog)
        self.internal = RenderRpc(self.catalog, Metrics())

    async def put(self, template: pb.Template, *, draft: bool = False, app_id: int = 7) -> pb.PutTemplateResponse:
        with calling_as(Caller("gateway", app_id)):
            return await self.public.PutTemplate(pb.PutTemplateRequest(template=template, draft=draft), CONTEXT)

    async def render(self, *items: internal.RenderRequest.Item) -> Sequence[internal.RenderedItem]:
        response = await self.internal.Render(internal.RenderRequest(items=items), CONTEXT)
        return response.items


class _NoContext:
    """These servicers do not look at it."""


CONTEXT: grpc.aio.ServicerContext[object, object] = _NoContext()  # type: ignore[assignment]


def template(called: str = "welcome", /, **samples: Sample) -> pb.Template:
    made = pb.Template(
        name=called,
        bodies=[
            pb.LocalizedBody(
                locale="en",
                content=Content(
                    push=PushContent(title="Hi {{ name }}", body="{{ n }} new", data={"order": "{{ n }}", "k": "v"}),
                    sms=SmsContent(text="Hi {{ name }}, {{ n }}"),
                    mail=MailContent(subject="Hello {{ name }}", text="Hi {{ name }}\n", html=HTML),
                ),
            ),
            pb.LocalizedBody(locale="de-CH", content=Content(push=PushContent(title="Grüezi {{ name }}"))),
        ],
    )
    made.sample_data.update({"name": "Ann", "n": 2, "items": ["a"], **samples})
    return made


def item(
    called: str = "welcome",
    /,
    locale: str = "en",
    channels: Sequence[Channel.ValueType] = (IOS,),
    **data: Sample,
) -> internal.RenderRequest.Item:
    made = internal.RenderRequest.Item(app_id=7, template=called, locale=locale, channels=channels)
    made.data.update({"name": "Bob", "n": 3, "items": ["<x>", "y"], **data})
    return made
