"""The whole sandbox: state directory, listeners, and the file that tells clients how to reach it."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from .answers import PROVIDERS, load
from .callback_urls import CallbackUrls
from .callbacks import Callbacks
from .credentials import (
    Credentials,
    ec_private_key,
    load_or_create,
    rsa_private_key,
    spki_base64,
    vapid_key_pair,
    write_private,
)
from .fates import Fates
from .faults import FaultScript
from .inbox.page import ROOT as INBOX_ROOT
from .inbox.page import Inbox
from .ledger import Ledger
from .settings import Settings
from .smpp import listener as smpp_listener
from .smpp.centre import Account, MessageCentre
from .smtp import listener as smtp_listener
from .smtp.bounces import Bounces
from .smtp.relay import Relay
from .web import google_token, h2_listener, huawei, huawei_token, twilio
from .web import listener as https_listener
from .web.apns import Apns, ApnsKey
from .web.aws_signature import SignatureCheck
from .web.control import Control
from .web.fcm import Fcm
from .web.router import Router
from .web.sendgrid import SendGrid
from .web.sendgrid_events import SendGridEvents
from .web.ses import Ses
from .web.ses_events import SesEvents
from .web.sns import Topic
from .web.webpush import WebPush

DESCRIPTION_FILE = "sandbox.json"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the listeners are."""

    https: int
    http2: int
    """HTTPS with faults of HTTP/2."""
    smpp: int
    smtp: int
    smtps: int


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A running sandbox."""

    settings: Settings
    credentials: Credentials
    ports: Ports
    ledger: Ledger
    faults: FaultScript
    callback_urls: CallbackUrls

    @classmethod
    @asynccontextmanager
    async def start(cls, settings: Settings) -> "AsyncIterator[Sandbox]":
        """Run a sandbox in this event loop while inside; ``sandbox.json`` is written once everything listens.

        Raises:
            OSError: an address is taken, the directory cannot be used, or the certificate does not fit its key
                (``ssl.SSLError``).
            ValueError: the state directory holds files of another kind.
        """
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(settings.tls_cert, settings.tls_key)
        settings.dir.mkdir(parents=True, exist_ok=True)
        credentials = load_or_create(settings.dir / "credentials.json", settings.fcm_project)
        tables = {provider: load(provider) for provider in PROVIDERS}
        faults = FaultScript(tables)
        fates = Fates(tables, faults)
        async with AsyncExitStack() as stack:
            ledger = Ledger(settings.dir / "ledger.ndjson")
            stack.callback(ledger.close)
            account = Account(
                credentials.smpp_system_id,
                credentials.smpp_password,
                settings.smpp_max_binds,
                settings.smpp_receipt_delay_ms / 1000,
            )
            access_tokens = google_token.AccessTokens(settings.access_token_seconds)
            service_account = google_token.ServiceAccount(
                credentials.fcm_client_email,
                credentials.fcm_private_key_id,
                rsa_private_key(credentials.fcm_private_key_pem).public_key(),
            )
            apns_key = ApnsKey(
                credentials.apns_team_id,
                credentials.apns_key_id,
                ec_private_key(credentials.apns_private_key_pem).public_key(),
            )
            trusted = ssl.create_default_context()
            if settings.callback_ca is not None:
                trusted.load_verify_locations(settings.callback_ca)
            callbacks = Callbacks(ledger, trusted)
            stack.push_async_callback(callbacks.close)
            callback_urls = CallbackUrls(settings.callback_urls)
            callback_delay_seconds = settings.callback_delay_ms / 1000
            huawei_app = huawei.App(
                credentials.huawei_client_id,
                credentials.huawei_project_id,
                credentials.huawei_callback_user,
                credentials.huawei_callback_key,
                callback_delay_seconds,
            )
            huawei_client = huawei_token.Client(credentials.huawei_client_id, credentials.huawei_client_secret)
            huawei_tokens = huawei_token.ClientTokens(settings.access_token_seconds)
            twilio_account = twilio.Account(
                credentials.twilio_account_sid,
                credentials.twilio_auth_token,
                credentials.twilio_key_sid,
                credentials.twilio_key_secret,
                credentials.twilio_messaging_service_sid,
                callback_delay_seconds,
            )
            ses_check = SignatureCheck(
                credentials.ses_access_key_id, credentials.ses_secret_access_key, settings.ses_region, "ses"
            )
            ses_events = SesEvents(
                Topic(
                    settings.ses_topic_arn,
                    settings.ses_region,
                    rsa_private_key(credentials.sns_private_key_pem),
                    settings.sns_signature_version,
                ),
                callbacks,
                callback_urls,
                callback_delay_seconds,
                time.time,
            )
            sendgrid_events = SendGridEvents(
                ec_private_key(credentials.sendgrid_event_private_key_pem),
                callbacks,
                callback_urls,
                callback_delay_seconds,
                time.time,
            )
            inbox = Inbox(credentials.api_token, ledger)
            router = Router(
                apns=Apns(apns_key, settings.apns_topics, tables["apns"], fates, ledger),
                fcm=Fcm(settings.fcm_project, access_tokens, tables["fcm"], fates, ledger),
                token=google_token.GoogleTokenServer(
                    service_account, access_tokens, tables["google_token"], fates, ledger
                ),
                webpush=WebPush(tables["webpush"], fates, ledger),
                huawei=huawei.Huawei(
                    huawei_app,
                    huawei_tokens,
                    tables["huawei"],
                    fates,
                    ledger,
                    huawei.Receipts(huawei_app, callbacks, callback_urls),
                ),
                huawei_token=huawei_token.HuaweiTokenServer(
                    huawei_client, huawei_tokens, tables["huawei_token"], fates, ledger
                ),
                twilio=twilio.Twilio(twilio_account, tables["twilio"], fates, ledger, callbacks),
                ses=Ses(ses_check, settings.ses_configuration_set, tables["ses"], fates, ledger, ses_events),
                sendgrid=SendGrid(credentials.sendgrid_api_key, tables["sendgrid"], fates, ledger, sendgrid_events),
                control=Control(credentials.api_token, faults, ledger, callback_urls),
                inbox=inbox,
            )
            host = settings.listen_host
            centre = MessageCentre(account, fates, ledger)
            bounces = Bounces(callbacks, callback_urls, callback_delay_seconds)
            relay = Relay(credentials.smtp_username, credentials.smtp_password, fates, ledger, bounces)
            smpp = await stack.enter_async_context(smpp_listener.listen(centre, host, settings.smpp_port))
            smtp = await stack.enter_async_context(
                smtp_listener.listen(relay, host, settings.smtp_port, settings.smtps_port, tls)
            )
            https = await stack.enter_async_context(
                https_listener.listen(
                    router,
                    host,
                    settings.https_port,
                    certificate=settings.tls_cert,
                    key=settings.tls_key,
                    max_streams=settings.https_max_streams,
                )
            )
            http2 = await stack.enter_async_context(
                h2_listener.listen(
                    router,
                    faults.http2,
                    host,
                    settings.http2_port,
                    certificate=settings.tls_cert,
                    key=settings.tls_key,
                    max_streams=settings.https_max_streams,
                )
            )
            # Before the listeners stop: the first waits for requests being answered.
            stack.callback(inbox.close)
            sandbox = cls(
                settings,
                credentials,
                Ports(https, http2, smpp, smtp.submission, smtp.implicit_tls),
                ledger,
                faults,
                callback_urls,
            )
            await asyncio.to_thread(sandbox.describe_to, settings.dir / DESCRIPTION_FILE)
            yield sandbox

    @property
    def base_url(self) -> str:
        """Origin of the HTTPS providers."""
        return f"https://{self.settings.public_host}:{self.ports.https}"

    @property
    def http2_url(self) -> str:
        """Origin of the same providers on the listener that has faults of HTTP/2."""
        return f"https://{self.settings.public_host}:{self.ports.http2}"

    def describe_to(self, path: Path) -> None:
        """Write the description clients read."""
        write_private(path, json.dumps(self.description(), indent=1).encode())

    def description(self) -> dict[str, object]:
        """Addresses and the fake credentials to use, as written into sandbox.json."""
        credentials, host = self.credentials, self.settings.public_host
        vapid_public, vapid_private = vapid_key_pair(credentials.vapid_private_key_pem)
        return {
            "url": self.base_url,
            "http2_url": self.http2_url,
            "api_token": credentials.api_token,
            "inbox_url": f"{self.base_url}{INBOX_ROOT}#token={credentials.api_token}",
            "apns": {
                "url": self.base_url,
                "team_id": credentials.apns_team_id,
                "key_id": credentials.apns_key_id,
                "private_key": credentials.apns_private_key_pem,
                "topics": list(self.settings.apns_topics),
            },
            "fcm": {"url": self.base_url, "service_account": self._service_account()},
            "webpush": {
                "url": self.base_url,
                "vapid_public_key": vapid_public,
                "vapid_private_key": vapid_private,
                "subject": "mailto:sandbox@sandbox.invalid",
            },
            "smpp": {
                "host": host,
                "port": self.ports.smpp,
                "system_id": credentials.smpp_system_id,
                "password": credentials.smpp_password,
            },
            "huawei": {
                "url": self.base_url,
                "token_url": f"{self.base_url}/oauth2/v3/token",
                "client_id": credentials.huawei_client_id,
                "client_secret": credentials.huawei_client_secret,
                "project_id": credentials.huawei_project_id,
                "callback_user": credentials.huawei_callback_user,
                "callback_key": credentials.huawei_callback_key,
            },
            "twilio": {
                "url": self.base_url,
                "account_sid": credentials.twilio_account_sid,
                "auth_token": credentials.twilio_auth_token,
                "key_sid": credentials.twilio_key_sid,
                "key_secret": credentials.twilio_key_secret,
                "messaging_service_sid": credentials.twilio_messaging_service_sid,
            },
            "smtp": {
                "host": host,
                "port": self.ports.smtp,
                "implicit_tls_port": self.ports.smtps,
                "username": credentials.smtp_username,
                "password": credentials.smtp_password,
            },
            "ses": {
                "url": self.base_url,
                "region": self.settings.ses_region,
                "access_key_id": credentials.ses_access_key_id,
                "secret_access_key": credentials.ses_secret_access_key,
                "configuration_set": self.settings.ses_configuration_set,
                "topic_arn": self.settings.ses_topic_arn,
                "sns_certificate": credentials.sns_certificate_pem,
            },
            "sendgrid": {
                "url": self.base_url,
                "api_key": credentials.sendgrid_api_key,
                "event_public_key": spki_base64(ec_private_key(credentials.sendgrid_event_private_key_pem)),
            },
        }

    def _service_account(self) -> dict[str, str]:
        return {
            "type": "service_account",
            "project_id": self.settings.fcm_project,
            "private_key_id": self.credentials.fcm_private_key_id,
            "private_key": self.credentials.fcm_private_key_pem,
            "client_email": self.credentials.fcm_client_email,
            "client_id": "100000000000000000000",
            "auth_uri": f"{self.base_url}/auth",
            "token_uri": f"{self.base_url}/token",
        }
