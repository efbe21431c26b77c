"""TemplateService: versioned, localised content."""

from collections.abc import Mapping, Sequence

from clarion.template.v1 import template_service_pb2 as pb
from clarion.template.v1.variable_pb2 import Variable
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
        variables: Sequence[Variable] = (),
        partials: Mapping[str, str] | None = None,
        layout: str = "",
    ) -> pb.PutTemplateRequest:
        """Stores a new version and, unless `draft`, publishes it. `bodies` by locale (BCP 47), texts as minijinja.

        `sample_data` needs a value for every variable used that has no sample in its declaration; `partials` are sources
        by name, `layout` the partial that HTML bodies are put into. The answer holds warnings. Raises InvalidArgument
        (INVALID_FIELD, TEMPLATE_INVALID, MISSING_VARIABLE), ValueError for data that JSON cannot hold.
        """
        template = pb.Template(
            name=name,
            bodies=[
                pb.LocalizedBody(locale=locale, content=content_proto(content)) for locale, content in bodies.items()
            ],
            default_locale=default_locale,
            sample_data=None if sample_data is None else struct(sample_data),
            variables=variables,
            partials=[pb.Partial(name=called, source=source) for called, source in (partials or {}).items()],
            layout=layout,
        )
        return pb.PutTemplateRequest(template=template, draft=draft)

    @_contract.rpc("PutTemplate", pb.PutTemplateRequest, pb.PutTemplateResponse)
    def store(self, template: pb.Template, *, draft: bool = False) -> pb.PutTemplateRequest:
        """`put` for a template in the contract's own form, with everything that it may say."""
        return pb.PutTemplateRequest(template=template, draft=draft)

    @_contract.rpc("LintTemplate", pb.LintTemplateRequest, pb.LintTemplateResponse)
    def lint(self, template: pb.Template) -> pb.LintTemplateRequest:
        """Checks a template without storing it: gives warnings, raises as `put`."""
        return pb.LintTemplateRequest(template=template)

    @_contract.rpc("GetTemplate", pb.GetTemplateRequest, pb.GetTemplateResponse)
    def get(self, name: str, *, version: int = 0) -> pb.GetTemplateRequest:
        """One version; 0 the published one. Raises NotFound (TEMPLATE_NOT_FOUND)."""
        return pb.GetTemplateRequest(name=name, version=version)

    @_contract.rpc("ListTemplates", pb.ListTemplatesRequest, pb.ListTemplatesResponse)
    def list(self, *, include_archived: bool = False) -> pb.ListTemplatesRequest:
        """The app's templates by name, at a glance."""
        return pb.ListTemplatesRequest(include_archived=include_archived)

    @_contract.rpc("ListTemplateVersions", pb.ListTemplateVersionsRequest, pb.ListTemplateVersionsResponse)
    def versions(self, name: str, *, page_size: int = 0, before_version: int = 0) -> pb.ListTemplateVersionsRequest:
        """Versions below `before_version` (0: all), newest first, with who stored and published them; 50 unless told (≤ 200).

        Raises NotFound (TEMPLATE_NOT_FOUND).
        """
        return pb.ListTemplateVersionsRequest(name=name, page_size=page_size, before_version=before_version)

    @_contract.rpc("PublishTemplate", pb.PublishTemplateRequest, pb.PublishTemplateResponse)
    def publish(self, name: str, version: int) -> pb.PublishTemplateRequest:
        """Publishes a stored version; an older one rolls back. Raises NotFound (TEMPLATE_NOT_FOUND)."""
        return pb.PublishTemplateRequest(name=name, version=version)

    @_contract.rpc("ArchiveTemplate", pb.ArchiveTemplateRequest, pb.ArchiveTemplateResponse)
    def archive(self, name: str, *, restore: bool = False) -> pb.ArchiveTemplateRequest:
        """New notifications with it are refused; what was accepted before still renders. `restore` brings it back. The answer
        names schedules and broadcasts that go on using it.

        Raises NotFound (TEMPLATE_NOT_FOUND).
        """
        return pb.ArchiveTemplateRequest(name=name, restore=restore)

    @_contract.rpc("PutPartial", pb.PutPartialRequest, pb.PutPartialResponse)
    def put_partial(
        self, name: str, source: str = "", *, localized: Mapping[str, str] | None = None
    ) -> pb.PutPartialRequest:
        """Stores a partial that every template of the app may include; `localized` are sources by locale.

        Templates take it up when they are stored again. Raises InvalidArgument (INVALID_FIELD).
        """
        sources = [pb.LocalizedSource(locale=locale, source=text) for locale, text in (localized or {}).items()]
        return pb.PutPartialRequest(partial=pb.Partial(name=name, source=source, localized=sources))

    @_contract.rpc("GetPartial", pb.GetPartialRequest, pb.GetPartialResponse)
    def get_partial(self, name: str, *, version: int = 0) -> pb.GetPartialRequest:
        """One version of a partial; 0 the newest. Raises NotFound (TEMPLATE_NOT_FOUND)."""
        return pb.GetPartialRequest(name=name, version=version)

    @_contract.rpc("ListPartials", pb.ListPartialsRequest, pb.ListPartialsResponse)
    def partials(self) -> pb.ListPartialsRequest:
        """The app's partials by name, with their newest versions."""
        return pb.ListPartialsRequest()

    @_contract.rpc("PreviewTemplate", pb.PreviewTemplateRequest, pb.PreviewTemplateResponse)
    def preview(
        self,
        name: str,
        *,
        version: int = 0,
        locale: str = "",
        data: Mapping[str, JsonValue] | None = None,
        time_zone: str = "",
    ) -> pb.PreviewTemplateRequest:
        """Renders without sending; without `data`, with the samples. Times are told in `time_zone` (IANA name).

        Raises NotFound (TEMPLATE_NOT_FOUND), FailedPrecondition (LOCALE_NOT_FOUND), InvalidArgument
        (MISSING_VARIABLE, INVALID_FIELD), ValueError for data that JSON cannot hold.
        """
        return pb.PreviewTemplateRequest(
            name=name,
            version=version,
            locale=locale,
            data=None if data is None else struct(data),
            time_zone=time_zone,
        )
