"""The ways out that a mail names in List-Unsubscribe (RFC 2369, RFC 8058)."""

LOCAL_PART = "unsubscribe"
"""Of the address that mails to unsubscribe go to, in an account's inbound domain."""


def ways_out(url: str, inbound_domain: str | None) -> tuple[str, ...]:
    """URIs for a signed one-click link, whose last part is the token; none without a link. The `mailto:` is for mail
    programs that know no other way: its subject carries the token."""
    if not url:
        return ()
    if not inbound_domain:
        return (url,)
    return url, f"mailto:{LOCAL_PART}@{inbound_domain}?subject={url.rpartition('/')[2]}"
