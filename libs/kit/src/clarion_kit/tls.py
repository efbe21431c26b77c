"""TLS of the mesh: every daemon has one identity, a certificate with the URI `spiffe://clarion/<daemon>`.

Files are `ca.crt`, `tls.crt` and `tls.key` in one folder, so that Kubernetes secrets of type kubernetes.io/tls serve.
gRPC has no minimum-version setting; the cipher suites below leave TLS 1.2 with AEAD only, and TLS 1.3.
"""

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import grpc

SPIFFE_PREFIX = "spiffe://clarion/"
_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


def restrict_cipher_suites() -> None:
    """Must run before the first gRPC object of the process is made."""
    os.environ.setdefault("GRPC_SSL_CIPHER_SUITES", _SUITES)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of one identity."""

    ca: Path
    certificate: Path
    key: Path

    @classmethod
    def in_dir(cls, folder: Path) -> "TlsFiles":
        return cls(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")

    def public_server_credentials(self) -> grpc.ServerCredentials:
        """TLS for clients that prove themselves by token, certificate reloaded when its file changes."""
        return self._server_credentials(require_client=False)

    def mesh_server_credentials(self) -> grpc.ServerCredentials:
        """mTLS: only holders of a certificate of the mesh's CA get in."""
        return self._server_credentials(require_client=True)

    def mesh_channel_credentials(self) -> grpc.ChannelCredentials:
        """This daemon's identity towards its peers."""
        return grpc.ssl_channel_credentials(self.ca.read_bytes(), self.key.read_bytes(), self.certificate.read_bytes())

    def client_context(self) -> ssl.SSLContext:
        """For servers of the platform (NATS, Valkey) that ask for a client certificate."""
        context = ssl.create_default_context(cafile=self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_SUITES)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def server_context(self) -> ssl.SSLContext:
        """For servers that anybody may reach, without a certificate of the mesh. Raises OSError for files that cannot be used."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        return context

    def stamp(self) -> tuple[int, ...] | None:
        """Differs after each change of a file; None while one is missing."""
        try:
            found = [path.stat() for path in (self.ca, self.certificate, self.key)]
        except OSError:
            return None
        # Clocks of file systems tick in milliseconds: a file that replaced another in the same tick is known by its inode.
        return tuple(part for file in found for part in (file.st_mtime_ns, file.st_ino, file.st_size))

    def belong_together(self) -> bool:
        """Whether key, certificate and authorities can be used: files that are replaced one by one cannot for a moment."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.ca)
        except (OSError, ValueError):
            return False
        return True

    def _server_credentials(self, *, require_client: bool) -> grpc.ServerCredentials:
        watch = FileWatch(self)

        def configuration() -> grpc.ServerCertificateConfiguration:
            return grpc.ssl_server_certificate_configuration(
                [(self.key.read_bytes(), self.certificate.read_bytes())], self.ca.read_bytes()
            )

        def reload() -> grpc.ServerCertificateConfiguration | None:
            return configuration() if watch.changed() else None

        return grpc.dynamic_ssl_server_credentials(
            configuration(),
            reload,  # type: ignore[arg-type]  # None means "unchanged", which the stub forgets
            require_client_authentication=require_client,
        )


class FileWatch:
    """Tells of files that replaced those of before. Not of files that cannot be used: then the former ones go on."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp = files.stamp()

    def changed(self) -> bool:
        """Once for each set of files."""
        stamp = self._files.stamp()
        if stamp is None or stamp == self._stamp or not self._files.belong_together():
            return False
        self._stamp = stamp
        return True


class RenewingContext:
    """A TLS context of the newest files, for whoever connects or is connected to next."""

    def __init__(self, files: TlsFiles, make: Callable[[TlsFiles], ssl.SSLContext]) -> None:
        """Raises what `make` raises."""
        self._files = files
        self._make = make
        self._watch = FileWatch(files)
        self._context = make(files)

    def latest(self) -> ssl.SSLContext:
        if self._watch.changed():
            # Files that change again in this moment are looked at again by the next caller.
            with suppress(OSError, ValueError):
                self._context = self._make(self._files)
        return self._context
