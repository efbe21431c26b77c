"""TemplateService: versioned, localised content."""

from collections.abc import Mapping

from clarion.template.v1 import template_service_pb2 as pb
from clarion_client._rpc import ServiceContract
from clarion_client._wire import JsonValue, struct
from clarion_client.content import ContentLike, content_proto

_contract = ServiceContract(pb.DESCRIPTOR, "TemplateService")


class TemplateCalls:
    """A version never changes once stored."""

    @_contract.rpc("PutTemplate", pb.PutTemplateRequest, pb.PutTemplateResponse)
    def put(
        self,
        name: str,
        bodies: Mapping[str, ContentLike],
        *,
        sample_data: Mapping[str, JsonValue] | None = None,
        default_locale: str = "",
        draft: bool = False,
    ) -> pb.PutTemplateRequest:
        """Stores a new version and, unless `draft`, publishes it. `bodies` by locale (BCP 47), texts as minijinja.

        `sample_data` needs a value for every variable used. Raises InvalidArgument (INVALID_FIELD, TEMPLATE_INVALID,
        MISSING_VARIABLE), ValueError for data that JSON cannot hold.
        """
        template = pb.Template(
            name=name,
            bodies=[
                pb.LocalizedBody(locale=locale, content=content_proto(content)) for locale, content in bodies.items()
            ],
            default_locale=default_locale,
            sample_data=None if sample_data is None else struct(sample_data),
        )
        return pb.PutTemplateRequest(template=template, draft=draft)

    @_contract.rpc("GetTemplate", pb.GetTemplateRequest, pb.GetTemplateResponse)
    def get(self, name: str, *, version: int = 0) -> pb.GetTemplateRequest:
        """One version; 0 the published one. Raises NotFound (TEMPLATE_NOT_FOUND)."""
        return pb.GetTemplateRequest(name=name, version=version)

    @_contract.rpc("ListTemplates", pb.ListTemplatesRequest, pb.ListTemplatesResponse)
    def list(self) -> pb.ListTemplatesRequest:
        """The app's templates by name, at a glance."""
        return pb.ListTemplatesRequest()

    @_contract.rpc("PublishTemplate", pb.PublishTemplateRequest, pb.PublishTemplateResponse)
    def publish(self, name: str, version: int) -> pb.PublishTemplateRequest:
        """Publishes a stored version; an older one rolls back. Raises NotFound (TEMPLATE_NOT_FOUND)."""
        return pb.PublishTemplateRequest(name=name, version=version)

    @_contract.rpc("PreviewTemplate", pb.PreviewTemplateRequest, pb.PreviewTemplateResponse)
    def preview(
        self, name: str, *, version: int = 0, locale: str = "", data: Mapping[str, JsonValue] | None = None
    ) -> pb.PreviewTemplateRequest:
        """Renders without sending; without `data`, with the samples.

        Raises NotFound (TEMPLATE_NOT_FOUND), FailedPrecondition (LOCALE_NOT_FOUND), InvalidArgument
        (MISSING_VARIABLE), ValueError for data that JSON cannot hold.
        """
        return pb.PreviewTemplateRequest(
            name=name, version=version, locale=locale, data=None if data is None else struct(data)
        )
