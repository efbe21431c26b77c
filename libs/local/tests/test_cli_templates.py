"""`clarion templates` against a gateway of the real contract, over real TLS."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Never

import grpc
import pytest
from google.protobuf import json_format

from clarion.auth.v1 import auth_service_pb2, auth_service_pb2_grpc
from clarion.notification.v1 import notification_service_pb2, notification_service_pb2_grpc
from clarion.template.v1 import template_service_pb2 as pb
from clarion.template.v1 import template_service_pb2_grpc as pb_grpc
from clarion_local.authority import Authority

from .scripted_stack import clarion, scripted_stack

Context = grpc.ServicerContext
WARNING = pb.LintWarning(
    code=pb.LintCode.LINT_CODE_SMS_UCS2, locale="ko", content="sms", field="text", message="U+C548 outside GSM-7"
)
TEMPLATE = {
    "name": "welcome",
    "bodies": [{"locale": "en", "content": {"sms": {"text": "Hi {{ name }} {% include 'foot' %}"}}}],
    "variables": [{"name": "name", "type": "VARIABLE_TYPE_STRING", "sample": "Ann"}],
    "partials": [{"name": "foot", "source": "bye"}],
    "sampleData": {"n": 1},
}


class Gateway(
    auth_service_pb2_grpc.AuthServiceServicer,
    pb_grpc.TemplateServiceServicer,
    notification_service_pb2_grpc.NotificationServiceServicer,
):
    """Takes every template with one warning, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[pb.PutTemplateRequest | pb.LintTemplateRequest | pb.ArchiveTemplateRequest] = []
        self.partials: list[pb.Partial] = []
        self.sent: list[notification_service_pb2.Notification] = []
        self.used_by: list[pb.TemplateUse] = []

    def IssueToken(
        self, request: auth_service_pb2.IssueTokenRequest, context: Context
    ) -> auth_service_pb2.IssueTokenResponse:
        answer = auth_service_pb2.IssueTokenResponse(token="t")
        answer.expires_at.FromSeconds(4_000_000_000)
        return answer

    def PutTemplate(self, request: pb.PutTemplateRequest, context: Context) -> pb.PutTemplateResponse:
        self.asked.append(request)
        return pb.PutTemplateResponse(version=3, variables=["name"], warnings=[WARNING])

    def LintTemplate(self, request: pb.LintTemplateRequest, context: Context) -> pb.LintTemplateResponse:
        self.asked.append(request)
        return pb.LintTemplateResponse(warnings=[WARNING] if request.template.name == "welcome" else [])

    def ArchiveTemplate(self, request: pb.ArchiveTemplateRequest, context: Context) -> pb.ArchiveTemplateResponse:
        self.asked.append(request)
        return pb.ArchiveTemplateResponse(used_by=self.used_by)

    def GetTemplate(self, request: pb.GetTemplateRequest, context: Context) -> pb.GetTemplateResponse:
        template = json_format.ParseDict(TEMPLATE, pb.Template())
        template.version = request.version
        return pb.GetTemplateResponse(template=template)

    def ListTemplateVersions(
        self, request: pb.ListTemplateVersionsRequest, context: Context
    ) -> pb.ListTemplateVersionsResponse:
        answer = pb.ListTemplateVersionsResponse()
        answer.versions.add(version=5, created_by="ck_draft").created_at.FromSeconds(1_900_000_000)
        published = answer.versions.add(version=4, created_by="ck_a", published=True, published_by="ck_b")
        published.created_at.FromSeconds(1_900_000_000)
        published.published_at.FromSeconds(1_900_000_100)
        return answer

    def PublishTemplate(self, request: pb.PublishTemplateRequest, context: Context) -> pb.PublishTemplateResponse:
        return pb.PublishTemplateResponse()

    def PutPartial(self, request: pb.PutPartialRequest, context: Context) -> pb.PutPartialResponse:
        self.partials.append(request.partial)
        return pb.PutPartialResponse(version=2)

    def ListPartials(self, request: pb.ListPartialsRequest, context: Context) -> pb.ListPartialsResponse:
        return pb.ListPartialsResponse(partials=[pb.PartialVersion(name="foot", version=2)])

    def Send(
        self, request: notification_service_pb2.SendRequest, context: Context
    ) -> notification_service_pb2.SendResponse:
        self.sent.append(request.notification)
        return notification_service_pb2.SendResponse(notification_id="n-1")

    def _unasked(self, request: object, context: Context) -> Never:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")
        raise AssertionError

    def SendStream(self, request_iterator: object, context: Context) -> Never:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "not scripted")
        raise AssertionError

    SendBatch = Get = List = Cancel = Reschedule = Explain = _unasked
    GetPartial = ListTemplates = PreviewTemplate = _unasked


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def stack(tmp_path: Path, gateway: Gateway, authority: Authority) -> Iterator[Path]:
    """The folder of a local stack whose gateway is ours."""
    services = (
        partial(auth_service_pb2_grpc.add_AuthServiceServicer_to_server, gateway),
        partial(pb_grpc.add_TemplateServiceServicer_to_server, gateway),
        partial(notification_service_pb2_grpc.add_NotificationServiceServicer_to_server, gateway),
    )
    with scripted_stack(tmp_path, authority, *services) as folder:
        yield folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "welcome.json"
    path.write_text(json.dumps(TEMPLATE))
    return path


def test_put_hands_on_everything_a_file_says_and_shows_warnings(stack: Path, gateway: Gateway, file: Path) -> None:
    shown = clarion(stack, "templates", "put", str(file), "--draft")

    assert shown.exit_code == 0
    assert "warning: ko sms text: U+C548 outside GSM-7" in shown.stdout
    assert gateway.asked == [pb.PutTemplateRequest(template=json_format.ParseDict(TEMPLATE, pb.Template()), draft=True)]


def test_lint_checks_files_and_stores_nothing(stack: Path, gateway: Gateway, file: Path) -> None:
    file.with_name("other.json").write_text(json.dumps({**TEMPLATE, "name": "other"}))

    shown = clarion(stack, "templates", "lint", str(file.parent / "welcome.json"))
    fine = clarion(stack, "templates", "lint", str(file.parent / "other.json"))
    strict = clarion(stack, "templates", "lint", str(file), "--strict")

    assert (shown.exit_code, fine.exit_code, strict.exit_code) == (0, 0, 1)
    assert "welcome: 1 warning\n" in shown.stdout
    assert fine.stdout == "other: fine\n"
    assert all(isinstance(one, pb.LintTemplateRequest) for one in gateway.asked)


def test_versions_say_who_stored_and_published_them(stack: Path) -> None:
    shown = clarion(stack, "templates", "versions", "welcome")

    assert shown.exit_code == 0
    assert "4 *" in shown.stdout
    assert "ck_draft" in shown.stdout
    assert "ck_b" in shown.stdout


def test_archive_names_who_goes_on_sending_the_template(stack: Path, gateway: Gateway) -> None:
    gateway.used_by = [pb.TemplateUse(schedule="daily", paused=True), pb.TemplateUse(broadcast_id="b-1")]

    shown = clarion(stack, "templates", "archive", "welcome")
    as_json = clarion(stack, "templates", "archive", "welcome", "--json")

    assert shown.stdout == "welcome is archived\n"
    assert [line.strip() for line in shown.stderr.splitlines()] == [
        "welcome is still sent by:",
        "schedule daily (paused)",
        "broadcast b-1",
    ]
    assert json.loads(as_json.stdout)["used_by"][0] == {"schedule": "daily", "paused": True}


def test_archive_and_restore(stack: Path, gateway: Gateway) -> None:
    codes = [clarion(stack, "templates", command, "welcome").exit_code for command in ("archive", "restore")]

    assert codes == [0, 0]
    assert gateway.asked == [
        pb.ArchiveTemplateRequest(name="welcome"),
        pb.ArchiveTemplateRequest(name="welcome", restore=True),
    ]


def test_publish_names_the_version(stack: Path) -> None:
    assert clarion(stack, "templates", "publish", "welcome", "4").stdout == "welcome version 4 is published\n"


def test_show_prints_what_put_takes(stack: Path) -> None:
    shown = clarion(stack, "templates", "show", "welcome")

    assert json.loads(shown.stdout)["partials"][0]["source"] == "bye"


def test_a_test_sends_the_newest_version_with_its_samples(stack: Path, gateway: Gateway) -> None:
    shown = clarion(stack, "templates", "test", "welcome", "--to", "me", "--category", "orders")

    assert shown.exit_code == 0
    (sent,) = gateway.sent
    assert (sent.template.name, sent.template.version, dict(sent.template.data)) == (
        "welcome",
        5,
        {"name": "Ann", "n": 1},
    )
    assert sent.event_id.startswith("test-")
    assert sent.test
    assert list(sent.recipient_ids) == ["me"]


def test_partials_are_put_and_listed(stack: Path, gateway: Gateway, tmp_path: Path) -> None:
    source = tmp_path / "foot.txt"
    source.write_text("bye {{ name }}")

    put = clarion(stack, "templates", "partials", "put", "foot", str(source))
    listed = clarion(stack, "templates", "partials", "list")

    assert put.stdout == "foot version 2\n"
    assert gateway.partials == [pb.Partial(name="foot", source="bye {{ name }}")]
    assert "foot" in listed.stdout
