"""What acceptance needs of other daemons."""

from typing import Protocol

from clarion.notification.v1.notification_service_pb2 import TemplateRef


class Templates(Protocol):
    async def check(self, app_id: int, reference: TemplateRef, path: str, *, digest: bool) -> None:
        """Raises TEMPLATE_NOT_FOUND, MISSING_VARIABLE, INVALID_FIELD (a value of the wrong type, under `path`). `digest`: the
        planner gives that variable."""
        ...
