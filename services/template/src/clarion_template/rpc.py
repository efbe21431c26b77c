"""The public TemplateService: proto ↔ authoring."""

import grpc

from clarion.template.v1 import template_service_pb2 as pb
from clarion.template.v1.template_service_pb2_grpc import TemplateServiceServicer
from clarion_kit.rpc.caller import current_caller
from clarion_kit.validate import Faults
from clarion_ledger.scheduling import known_zone
from clarion_template.authoring import Author
from clarion_template.catalog import Catalog
from clarion_template.domain import VersionKey
from clarion_template.faults import template_not_found
from clarion_template.ports import Store
from clarion_template.validation import check_partial, check_template

_Context = grpc.aio.ServicerContext[object, object]


class TemplateRpc(TemplateServiceServicer):
    """Templates of the calling app."""

    def __init__(self, store: Store, author: Author, catalog: Catalog) -> None:
        self._store = store
        self._author = author
        self._catalog = catalog

    async def PutTemplate(self, request: pb.PutTemplateRequest, context: _Context) -> pb.PutTemplateResponse:
        app_id = current_caller().app_id
        check_template(request.template)
        by = current_caller().key
        put = await self._author.put(app_id, request.template, publish=not request.draft, by=by)
        self._catalog.forget(app_id, request.template.name)
        return pb.PutTemplateResponse(version=put.version, variables=put.variables, warnings=put.warnings)

    async def LintTemplate(self, request: pb.LintTemplateRequest, context: _Context) -> pb.LintTemplateResponse:
        check_template(request.template)
        checked = await self._author.check(current_caller().app_id, request.template)
        return pb.LintTemplateResponse(warnings=checked.warnings, variables=checked.variables)

    async def GetTemplate(self, request: pb.GetTemplateRequest, context: _Context) -> pb.GetTemplateResponse:
        key = await self._key(request.name, request.version)
        stored = await self._store.get(key)
        if stored is None:
            raise template_not_found(key.name)
        template = pb.Template.FromString(stored.source or stored.document)
        template.version = key.version
        template.created_at.FromDatetime(stored.created_at)
        template.created_by = stored.created_by
        return pb.GetTemplateResponse(template=template)

    async def ListTemplates(self, request: pb.ListTemplatesRequest, context: _Context) -> pb.ListTemplatesResponse:
        summaries = await self._store.summaries(current_caller().app_id, archived=request.include_archived)
        response = pb.ListTemplatesResponse()
        for summary in summaries:
            listed = response.templates.add(
                name=summary.name,
                published_version=summary.published,
                latest_version=summary.latest,
                locales=summary.locales,
            )
            if summary.archived_at is not None:
                listed.archived_at.FromDatetime(summary.archived_at)
        return response

    async def ListTemplateVersions(
        self, request: pb.ListTemplateVersionsRequest, context: _Context
    ) -> pb.ListTemplateVersionsResponse:
        faults = Faults()
        faults.name("name", request.name)
        faults.require("page_size", request.page_size <= _MAX_PAGE, f"at most {_MAX_PAGE}")
        faults.require("before_version", request.before_version <= _MAX_VERSION, "no such version")
        faults.raise_if_any()
        app_id = current_caller().app_id
        found = await self._store.versions(
            app_id, request.name, before=request.before_version, most=request.page_size or _PAGE
        )
        if not found:
            await self._require_known(app_id, request.name)
        response = pb.ListTemplateVersionsResponse()
        for one in found:
            listed = response.versions.add(
                version=one.version,
                created_by=one.created_by,
                published=one.published,
                published_by=one.published_by,
                locales=one.locales,
            )
            listed.created_at.FromDatetime(one.created_at)
            if one.published_at is not None:
                listed.published_at.FromDatetime(one.published_at)
        return response

    async def ArchiveTemplate(
        self, request: pb.ArchiveTemplateRequest, context: _Context
    ) -> pb.ArchiveTemplateResponse:
        faults = Faults()
        faults.name("name", request.name)
        faults.raise_if_any()
        app_id = current_caller().app_id
        if not await self._store.archive(app_id, request.name, restore=request.restore):
            raise template_not_found(request.name)
        self._catalog.forget(app_id, request.name)
        response = pb.ArchiveTemplateResponse()
        if request.restore:
            return response
        uses = await self._store.used_by(app_id, request.name, most=_MAX_USES + 1)
        for use in uses[:_MAX_USES]:
            named = response.used_by.add(paused=use.paused)
            if use.broadcast_id is None:
                named.schedule = use.schedule
            else:
                named.broadcast_id = str(use.broadcast_id)
        response.more = len(uses) > _MAX_USES
        return response

    async def PutPartial(self, request: pb.PutPartialRequest, context: _Context) -> pb.PutPartialResponse:
        check_partial(request.partial)
        partial = pb.Partial(
            name=request.partial.name, source=request.partial.source, localized=request.partial.localized
        )
        caller = current_caller()
        return pb.PutPartialResponse(version=await self._store.put_partial(caller.app_id, partial, caller.key))

    async def GetPartial(self, request: pb.GetPartialRequest, context: _Context) -> pb.GetPartialResponse:
        faults = Faults()
        faults.name("name", request.name)
        faults.require("version", request.version <= _MAX_VERSION, "no such version")
        faults.raise_if_any()
        wanted = (request.name, request.version)
        found = await self._store.partials(current_caller().app_id, [wanted])
        if wanted not in found:
            raise template_not_found(request.name)
        return pb.GetPartialResponse(partial=found[wanted])

    async def ListPartials(self, request: pb.ListPartialsRequest, context: _Context) -> pb.ListPartialsResponse:
        names = await self._store.partial_names(current_caller().app_id)
        return pb.ListPartialsResponse(
            partials=[pb.PartialVersion(name=name, version=version) for name, version in names]
        )

    async def PublishTemplate(
        self, request: pb.PublishTemplateRequest, context: _Context
    ) -> pb.PublishTemplateResponse:
        faults = Faults()
        faults.name("name", request.name)
        faults.require("version", request.version > 0, "required")
        faults.raise_if_any()
        key = VersionKey(current_caller().app_id, request.name, request.version)
        if request.version > _MAX_VERSION or not await self._store.publish(key, current_caller().key):
            raise template_not_found(request.name)
        self._catalog.forget(key.app_id, key.name)
        return pb.PublishTemplateResponse()

    async def PreviewTemplate(
        self, request: pb.PreviewTemplateRequest, context: _Context
    ) -> pb.PreviewTemplateResponse:
        faults = Faults()
        zone = request.time_zone
        faults.require("time_zone", not zone or known_zone(zone), 'must be an IANA time zone, e.g. "Asia/Seoul"')
        faults.raise_if_any()
        key = await self._key(request.name, request.version)
        given = request.data if request.HasField("data") else None
        content, locale = await self._author.preview(key, request.locale, given, zone)
        return pb.PreviewTemplateResponse(content=content, locale=locale)

    async def _key(self, name: str, version: int) -> VersionKey:
        faults = Faults()
        faults.name("name", name)
        faults.raise_if_any()
        app_id = current_caller().app_id
        if not version:
            (current,) = await self._store.published([(app_id, name)])
            version = current.published
        if not 0 < version <= _MAX_VERSION:
            raise template_not_found(name)
        return VersionKey(app_id, name, version)

    async def _require_known(self, app_id: int, name: str) -> None:
        (current,) = await self._store.published([(app_id, name)])
        if not current.latest:
            raise template_not_found(name)


_MAX_VERSION = 2**31 - 1
_PAGE = 50
_MAX_PAGE = 200
_MAX_USES = 100
