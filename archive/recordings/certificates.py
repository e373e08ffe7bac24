"""Who signs content credentials: a certificate for each institution, under one authority of the platform.

C2PA asks (specification 2.x, "X.509 certificates") for a leaf that is no authority, may sign, has an extended key usage
that the validator accepts, and names the key of its issuer; ours are ES256 with `documentSigning` (RFC 9336). A
validator elsewhere calls a signature trusted only if its trust list holds our authority's certificate (`authority`,
to be published), or one above it where the agency has its own issue these; our own checks go by that certificate alone.

The files hold private keys: mode 0600, made by the process that signs (work, or the command line), never read by media.
"""

import os
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
AUTHORITY = "authority"
AUTHORITY_DAYS, LEAF_DAYS, RENEW_DAYS = 7300, 3650, 365
MAX_NAME = 64  # of X.520
ORGANIZATION = "Serikali ya Tanzania"
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """`chain` is the leaf and its issuer, `authority` that issuer alone; all PEM. `key` is secret."""

    chain: bytes
    key: bytes
    authority: bytes

    def __repr__(self) -> str:
        return "Identity(...)"


def identity(folder: Path, institution: str, name: str, now: datetime) -> Identity:
    """The identity of an institution (its slug, and its name as others shall read it), made at first need and made
    anew in the year before it ends. `folder` is DATA/secrets/c2pa. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key, certificate = _authority(folder, now)
    leaf_key, leaf = _read(folder, institution) or _keep(folder, institution, *_leaf(key, certificate, name, now))
    if leaf.not_valid_after_utc - now < timedelta(days=RENEW_DAYS):
        _path(folder, institution).unlink(missing_ok=True)
        leaf_key, leaf = _keep(folder, institution, *_leaf(key, certificate, name, now))
    return Identity(_pem(leaf) + _pem(certificate), _key_pem(leaf_key), _pem(certificate))


def authority(folder: Path, now: datetime) -> bytes:
    """The authority's certificate, PEM, for those who check; nothing of it is secret."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return _pem(_authority(folder, now)[1])


Pair = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def _authority(folder: Path, now: datetime) -> Pair:
    return _read(folder, AUTHORITY) or _keep(folder, AUTHORITY, *_new_authority(now))


def _new_authority(now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Mbashara")
    builder = _builder(name, name, key.public_key(), now, AUTHORITY_DAYS).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    return key, builder.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True).sign(key, hashes.SHA256())


def _leaf(issuer_key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate, name: str, now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name, name), issuer.subject, key.public_key(), now, LEAF_DAYS)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage("digital_signature"), True),
        (x509.ExtendedKeyUsage([DOCUMENT_SIGNING]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
    ]
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return key, builder.sign(issuer_key, hashes.SHA256())


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    begins = now - timedelta(hours=1)  # the clock of whoever checks may be behind
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        .serial_number(x509.random_serial_number()).not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )  # fmt: skip


def _name(common: str, organization: str = ORGANIZATION) -> x509.Name:
    values = ((NameOID.COUNTRY_NAME, "TZ"), (NameOID.ORGANIZATION_NAME, organization), (NameOID.COMMON_NAME, common))
    return x509.Name([x509.NameAttribute(kind, value[:MAX_NAME]) for kind, value in values])


def _usage(*wanted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in wanted for usage in _USAGES})


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.pem"


def _read(folder: Path, name: str) -> Pair | None:
    try:
        data = _path(folder, name).read_bytes()
    except FileNotFoundError:
        return None
    key = serialization.load_pem_private_key(data, None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key, x509.load_pem_x509_certificate(data)


def _keep(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Pair:
    """Key and certificate in one file, so that they belong together. Where another process was quicker, its own."""
    fresh = _path(folder, f".{name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if os.geteuid() == 0:  # the command line is root's, the program an account's that owns the folder
                os.fchown(descriptor, folder.stat().st_uid, folder.stat().st_gid)
            file.write(_key_pem(key) + _pem(certificate))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, _path(folder, name))
        except FileExistsError:
            return _read(folder, name) or (key, certificate)
    finally:
        fresh.unlink(missing_ok=True)
    return key, certificate


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
