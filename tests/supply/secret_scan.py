"""Looks for secrets in every file that git knows or would take, by the rules of detect-secrets and two of our own.

Rules that guess, by entropy or by the names of variables, are left out: tests are full of passwords for practice. What a rule
finds and is no secret is in `harmless.json`, by digest, or its line ends with `pragma: allowlist secret`.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.plugins import (
    aws,
    azure_storage_key,
    basic_auth,
    discord,
    github_token,
    gitlab_token,
    jwt,
    mailchimp,
    npm,
    openai,
    private_key,
    pypi_token,
    sendgrid,
    slack,
    square_oauth,
    stripe,
    telegram_token,
    twilio,
)
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.settings import transient_settings

from . import secret_kinds
from .locked import ROOT

OF_THE_LIBRARY: tuple[type[RegexBasedDetector], ...] = (
    aws.AWSKeyDetector,
    azure_storage_key.AzureStorageKeyDetector,
    basic_auth.BasicAuthDetector,
    discord.DiscordBotTokenDetector,
    github_token.GitHubTokenDetector,
    gitlab_token.GitLabTokenDetector,
    jwt.JwtTokenDetector,
    mailchimp.MailchimpDetector,
    npm.NpmDetector,
    openai.OpenAIDetector,
    private_key.PrivateKeyDetector,
    pypi_token.PypiTokenDetector,
    sendgrid.SendGridDetector,
    slack.SlackDetector,
    square_oauth.SquareOAuthDetector,
    stripe.StripeDetector,
    telegram_token.TelegramBotTokenDetector,
    twilio.TwilioKeyDetector,
)
OURS: tuple[type[RegexBasedDetector], ...] = (secret_kinds.AppSecretDetector, secret_kinds.KeyFileDetector)
HARMLESS = Path(__file__).with_name("harmless.json")


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A secret in a file; `digest` (SHA-256) stands for it."""

    file: str
    kind: str
    digest: str
    line: int

    @property
    def known_as(self) -> tuple[str, str, str]:
        """What it is known by in `HARMLESS`: it may move within its file."""
        return self.file, self.kind, self.digest


def tracked_files() -> list[str]:
    """Paths below the root; generated stubs are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    names = (name for name in listed.stdout.split("\0") if name and not name.startswith("libs/contracts/"))
    return [name for name in names if (ROOT / name).is_file()]


def scan(names: Iterable[str], root: Path = ROOT) -> list[Found]:
    """Secrets in these files, in their order."""
    plugins: list[dict[str, str]] = [{"name": rule.__name__} for rule in OF_THE_LIBRARY]
    ours = Path(secret_kinds.__file__).resolve().as_uri()
    plugins += [{"name": rule.__name__, "path": ours} for rule in OURS]
    with transient_settings({"plugins_used": plugins}):
        collection = SecretsCollection(root=str(root))
        # The library asks every rule about every line; most files can be passed over whole.
        for name in _suspicious(names, root):
            collection.scan_file(name)
        return sorted(
            Found(
                file, secret.type, hashlib.sha256((secret.secret_value or "").encode()).hexdigest(), secret.line_number
            )
            for file, secret in collection
        )


def news(found: Sequence[Found]) -> list[Found]:
    """Those that nobody has called harmless."""
    harmless = {(one["file"], one["kind"], one["sha256"]) for one in json.loads(HARMLESS.read_text())}
    return [one for one in found if one.known_as not in harmless]


def accept(found: Sequence[Found]) -> None:
    """Call all of them harmless."""
    listed = sorted({one.known_as for one in found})
    rows = [{"file": file, "kind": kind, "sha256": digest} for file, kind, digest in listed]
    HARMLESS.write_text(json.dumps(rows, indent=1) + "\n")


def _suspicious(names: Iterable[str], root: Path) -> Iterable[str]:
    patterns = [pattern for rule in (*OF_THE_LIBRARY, *OURS) for pattern in rule().denylist]
    for name in names:
        text = (root / name).read_bytes().decode(errors="ignore")
        if any(pattern.search(text) for pattern in patterns):
            yield name
