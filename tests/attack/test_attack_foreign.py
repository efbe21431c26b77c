"""The referee notices what it is there to notice."""

from uuid import UUID

import grpc
import pytest

from clarion.notification.v1 import notification_service_pb2 as pb
from clarion_testkit.plugin import App, Database

from .belongings import Belongings
from .calls import Answer
from .fingerprint import fingerprint
from .foreign import complaints

GET = pb.DESCRIPTOR.services_by_name["NotificationService"].methods_by_name["Get"]
VICTIMS = Belongings("vm-mark", {"notification_id": "01890000-0000-7000-8000-000000000001", "event_id": "theirs"})
NOBODYS = Belongings("vm-mark", {"notification_id": "01890000-0000-7000-8000-000000000002", "event_id": "nobodys"})
REQUESTS = (b"theirs", b"nobodys")
NOT_THERE = grpc.StatusCode.NOT_FOUND


def found(category: str, count: int = 1) -> bytes:
    view = pb.NotificationView(category=category, recipient_count=count)
    return pb.GetResponse(notification=view).SerializeToString()


@pytest.mark.parametrize(
    ("theirs", "nobodys"),
    [
        (Answer(NOT_THERE, "no theirs here"), Answer(NOT_THERE, "no nobodys here")),
        (
            Answer(grpc.StatusCode.OK, "", responses=[found("a")]),
            Answer(grpc.StatusCode.OK, "", responses=[found("b")]),
        ),
    ],
)
def test_answers_that_tell_nothing_are_no_complaint(theirs: Answer, nobodys: Answer) -> None:
    assert list(complaints(GET, VICTIMS, NOBODYS, REQUESTS, (theirs, nobodys), watched=False)) == []


@pytest.mark.parametrize(
    ("theirs", "nobodys", "complaint"),
    [
        (Answer(grpc.StatusCode.INTERNAL, ""), Answer(grpc.StatusCode.INTERNAL, ""), "answered INTERNAL"),
        (Answer(grpc.StatusCode.PERMISSION_DENIED, ""), Answer(NOT_THERE, ""), "NOT_FOUND for what is not"),
        (Answer(NOT_THERE, "not yours"), Answer(NOT_THERE, "no such"), "says 'not yours'"),
        (
            Answer(grpc.StatusCode.OK, "", responses=[found("a", 2)]),
            Answer(grpc.StatusCode.OK, "", responses=[found("a", 1)]),
            "in another form",
        ),
        (
            Answer(grpc.StatusCode.OK, "", responses=[found("vm-mark")]),
            Answer(grpc.StatusCode.OK, "", responses=[found("a")]),
            "told its content",
        ),
        (
            Answer(grpc.StatusCode.OK, "", responses=[found(VICTIMS.texts["notification_id"])]),
            Answer(grpc.StatusCode.OK, "", responses=[found("a")]),
            "told notification_id",
        ),
        (
            Answer(grpc.StatusCode.OK, "", responses=[UUID(VICTIMS.texts["notification_id"]).bytes]),
            Answer(grpc.StatusCode.OK, "", responses=[b""]),
            "told notification_id",
        ),
    ],
)
def test_answer_that_tells_something_is_a_complaint(theirs: Answer, nobodys: Answer, complaint: str) -> None:
    said = list(complaints(GET, VICTIMS, NOBODYS, REQUESTS, (theirs, nobodys), watched=False))

    assert any(complaint in one for one in said), said


async def test_any_change_of_a_row_changes_the_fingerprint_of_its_app_alone(database: Database, app: App) -> None:
    before = await fingerprint(database.pool, app.app_id)
    elsewhere = await fingerprint(database.pool, app.app_id + 1)

    await database.pool.execute(
        "UPDATE ledger.category SET name = name || '2' WHERE category_id = $1", min(app.categories.values())
    )

    after = await fingerprint(database.pool, app.app_id)
    assert [line.partition(":")[0] for line in before.differences(after)] == ["ledger.category"]
    assert elsewhere.differences(await fingerprint(database.pool, app.app_id + 1)) == []
    assert before.rows > 0
