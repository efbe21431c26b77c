"""Settings of the email dispatcher."""

from pathlib import Path

from pydantic import Field

from clarion_channels.dispatcher import DispatcherSettings


class Settings(DispatcherSettings):
    """Accounts that set `return_path_domain` need `link_key_file`."""

    link_key_file: Path | None = Field(
        None, description="File with the key of signed links (base64), which return paths are signed with too."
    )
