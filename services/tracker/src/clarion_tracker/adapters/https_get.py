"""GET over HTTPS: what SNS asks us to fetch."""

from datetime import timedelta

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import RequestError

from clarion_kit.errors import Unavailable

MAX_BYTES = 64 * 1024
TIMEOUT = timedelta(seconds=2)


class NotFetched(Unavailable):
    """The server gave no usable answer in time."""

    dependency = "sns"


async def fetch(url: str) -> bytes:
    """The body of a 2xx answer. No redirects, no proxy of the environment, at most 64 KB. Raises NotFetched."""
    builder = ClientBuilder().https_only(True).no_proxy().follow_redirects(False).timeout(TIMEOUT).user_agent("clarion")
    try:
        async with builder.build() as client, client.get(url).build_streamed() as response:
            body = bytes(await response.body_reader.read(MAX_BYTES + 1) or b"")
            status = response.status
    except (RequestError, ValueError) as error:
        raise NotFetched(type(error).__name__) from error
    if not 200 <= status < 300 or len(body) > MAX_BYTES:
        raise NotFetched(f"status {status}")
    return body
