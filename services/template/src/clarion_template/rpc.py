"""The public TemplateService: proto ↔ authoring."""

import grpc

from clarion.template.v1 import template_service_pb2 as pb
from clarion.template.v1.template_service_pb2_grpc import TemplateServiceServicer
from clarion_kit.rpc.caller import current_caller
from clarion_kit.validate import Faults
from clarion_template import data as template_data
from clarion_template.authoring import Author
from clarion_template.catalog import Catalog
from clarion_template.domain import VersionKey
from clarion_template.faults import render_refused, template_not_found
from clarion_template.ports import Store
from clarion_template.source.engine import Data
from clarion_template.source.sheet import RenderFault
from clarion_template.validation import check_template

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
        put = await self._author.put(app_id, request.template, publish=not request.draft)
        self._catalog.forget(app_id, request.template.name)
        return pb.PutTemplateResponse(version=put.version, variables=put.variables)

    async def GetTemplate(self, request: pb.GetTemplateRequest, context: _Context) -> pb.GetTemplateResponse:
        key = await self._key(request.name, request.version)
        stored = await self._store.get(key)
        if stored is None:
            raise template_not_found(key.name)
        template = pb.Template.FromString(stored.document)
        template.version = key.version
        template.created_at.FromDatetime(stored.created_at)
        return pb.GetTemplateResponse(template=template)

    async def ListTemplates(self, request: pb.ListTemplatesRequest, context: _Context) -> pb.ListTemplatesResponse:
        summaries = await self._store.summaries(current_caller().app_id)
        return pb.ListTemplatesResponse(
            templates=[
                pb.TemplateSummary(
                    name=summary.name,
                    published_version=summary.published,
                    latest_version=summary.latest,
                    locales=summary.locales,
                )
                for summary in summaries
            ]
        )

    async def PublishTemplate(
        self, request: pb.PublishTemplateRequest, context: _Context
    ) -> pb.PublishTemplateResponse:
        faults = Faults()
        faults.name("name", request.name)
        faults.require("version", request.version > 0, "required")
        faults.raise_if_any()
        key = VersionKey(current_caller().app_id, request.name, request.version)
        if request.version > _MAX_VERSION or not await self._store.publish(key):
            raise template_not_found(request.name)
        self._catalog.forget(key.app_id, key.name)
        return pb.PublishTemplateResponse()

    async def PreviewTemplate(
        self, request: pb.PreviewTemplateRequest, context: _Context
    ) -> pb.PreviewTemplateResponse:
        key = await self._key(request.name, request.version)
        values = _values(request) if request.HasField("data") else None
        content, locale = await self._author.preview(key, request.locale, values)
        return pb.PreviewTemplateResponse(content=content, locale=locale)

    async def _key(self, name: str, version: int) -> VersionKey:
        faults = Faults()
        faults.name("name", name)
        faults.raise_if_any()
        app_id = current_caller().app_id
        if not version:
            ((version, _),) = await self._store.published([(app_id, name)])
        if not 0 < version <= _MAX_VERSION:
            raise template_not_found(name)
        return VersionKey(app_id, name, version)


_MAX_VERSION = 2**31 - 1


def _values(request: pb.PreviewTemplateRequest) -> Data:
    try:
        return template_data.values(request.data)
    except RenderFault as fault:
        raise render_refused(request.name, fault) from None
