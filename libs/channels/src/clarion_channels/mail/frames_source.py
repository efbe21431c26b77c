"""Where providers of mailboxes get a mail's frame from."""

from typing import Protocol

from clarion.internal.content.v1.rendered_pb2 import MailFrame


class FrameUnavailable(Exception):
    """The frame is not known, or its store cannot be reached now."""


class FrameSource(Protocol):
    """The mail frames by name. Frames are immutable, so a source may cache them without end; its size it bounds."""

    async def get(self, sha256: bytes) -> MailFrame:
        """The frame that `frame_sha256` names so, once it passed `mail.frame.verify_frame`. Raises `FrameUnavailable`."""
        ...


class NoFrames:
    """The source of a lane that was given none: probes and literal mails work, framed mails are tried again."""

    async def get(self, sha256: bytes) -> MailFrame:
        raise FrameUnavailable("this provider was connected without a source of frames")
