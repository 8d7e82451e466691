"""Certificates for servers of tests: two authorities, and what the first of them signed."""

import subprocess
from pathlib import Path


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def make_authority(folder: Path, name: str) -> None:
    """Write `<name>.pem`, a root certificate, and its key."""
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    # Without it, Python 3.13 takes a certificate for no authority.
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl(*new, *usage, "-keyout", f"{name}.key", "-out", f"{name}.pem", folder=folder)


def make_certificates(folder: Path) -> Path:
    """Make two authorities, `ours` and `theirs`, and a certificate of ours for localhost; return the folder."""
    for name in ("ours", "theirs"):
        make_authority(folder, name)
    (folder / "names").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-keyout", "key", "-out", "csr", folder=folder)
    sign = ["x509", "-req", "-in", "csr", "-CA", "ours.pem", "-CAkey", "ours.key", "-days", "2", "-extfile", "names"]
    openssl(*sign, "-out", "certificate", folder=folder)
    return folder


def tls_options(folder: Path) -> list[str]:
    """Return the options of a server that has the certificate and requires TLS."""
    options = ["--require-secure-transport=ON", f"--ssl-cert={folder / 'certificate'}"]
    return [*options, f"--ssl-key={folder / 'key'}", f"--ssl-ca={folder / 'ours.pem'}"]
