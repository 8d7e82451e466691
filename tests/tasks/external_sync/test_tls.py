"""TLS to an address that was checked: with the name, with a certificate that is vouched for, or not at all."""

import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from chalicelib.core import http
from chalicelib.core.http import RetryableError
from tests.tasks.external_sync.test_http_client import read
from tests.tasks.external_sync.upstream import Reply, Upstream


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody has signed but itself, and its key, in one file."""
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    extensions = [
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "keyUsage=critical,keyCertSign,digitalSignature",
    ]
    subprocess.run(
        [*command, *extensions, "-keyout", "key", "-out", "cert"], cwd=folder, check=True, capture_output=True
    )
    both = folder / "both.pem"
    both.write_bytes((folder / "cert").read_bytes() + (folder / "key").read_bytes())
    return both


@pytest.fixture
def secure(upstream: Upstream, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    """An upstream that speaks TLS, and whose certificate is not trusted yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    upstream.server.socket = context.wrap_socket(upstream.server.socket, server_side=True)
    monkeypatch.setattr(upstream.server, "handle_error", lambda *_: None)
    http._tls.cache_clear()
    yield upstream
    http._tls.cache_clear()


def test_tls_is_spoken_with_the_name_though_the_address_is_connected_to(
    secure: Upstream, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure.always(Reply(body=b"[1]"))
    assert read(f"https://localhost:{secure.port}/") == b"[1]"
    assert secure.asked[0].headers["host"] == f"localhost:{secure.port}"
    with pytest.raises(RetryableError, match="speaks no TLS that can be trusted"):
        read(f"https://127.0.0.1:{secure.port}/")


def test_untrusted_certificate_is_refused(secure: Upstream) -> None:
    with pytest.raises(RetryableError, match="speaks no TLS that can be trusted"):
        read(f"https://localhost:{secure.port}/", headers={"Authorization": "Bearer k"})
    assert secure.asked == []


def test_port_without_tls_is_refused(upstream: Upstream) -> None:
    with pytest.raises(RetryableError, match="speaks no TLS that can be trusted"):
        read(f"https://localhost:{upstream.port}/", headers={"Authorization": "Bearer k"})
    assert upstream.asked == []
