"""What a gateway starts from: its section of ``nbgov.yaml``, a certificate, and its service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.x509 import GeneralName, KeyUsage

KEY, CERTIFICATE, AUTHORITY = "gateway-key.pem", "gateway.pem", "gateway-ca.pem"
DAYS = timedelta(days=365)
SECTION = """
# How these connections are served to others; docs/reference/config.md describes every key.
gateway:
  data: ${address}:31337
  control: ${address}:31338
${places}  issuers: {}
  # issuers:
  #   acme:
  #     kind: okta
  #     issuer: https://acme.okta.com/oauth2/default
  #     audience: api://nbgov
  #     client_id: the-public-client-that-people-log-in-through
  admins: {}
  auditors: {}
"""
PLACES = """\
  data_url: grpc+tls://${host}:31337
  control_url: https://${host}:31338
  tls: {certificate: gateway.pem, key: "file:gateway-key.pem"}
"""
UNIT = """\
[Unit]
Description=nbgov gateway
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
# An account that owns nothing else and that nobody logs in to: useradd --system nbgov
User=nbgov
Group=nbgov
WorkingDirectory=${folder}
ExecStart=${command} --config ${config} gateway serve
ExecReload=/bin/kill -HUP $$MAINPID
KillMode=mixed
TimeoutStopSec=45
Restart=on-failure

# Secrets that nbgov.yaml names as env: belong here, readable by root alone.
EnvironmentFile=-/etc/nbgov/environment

UMask=0077
LimitCORE=0
LimitNOFILE=65536
CapabilityBoundingSet=
LockPersonality=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=${home}
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
ReadWritePaths=${state}
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""
MANIFEST = """\
# nbgov.yaml and policy.yaml come from a config map, secrets as files of a secret, and the log stays
# on a volume: let nbgov.yaml say `state: /var/lib/nbgov`, and have secrets and certificates in
# /run/secrets/nbgov.
# Make the first two with:
#   kubectl create configmap nbgov --from-file=nbgov.yaml --from-file=policy.yaml
#   kubectl create secret generic nbgov --from-file=gateway-key.pem --from-file=gateway.pem
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: nbgov}
spec:
  accessModes: [ReadWriteOncePod]
  resources: {requests: {storage: 10Gi}}
---
apiVersion: v1
kind: Service
metadata: {name: nbgov}
spec:
  selector: {app: nbgov}
  ports:
    - {name: data, port: 31337}
    - {name: control, port: 31338}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: nbgov}
spec:
  replicas: 1
  # The log has one writer, so the old one ends before the new one begins.
  strategy: {type: Recreate}
  selector: {matchLabels: {app: nbgov}}
  template:
    metadata: {labels: {app: nbgov}}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 45
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: gateway
          image: REPLACE-WITH-AN-IMAGE-THAT-HAS-NBGOV
          args: [nbgov, --config, /etc/nbgov, gateway, serve]
          # Closes core dumps before anything is read; the process does it again for itself.
          command: [/bin/sh, -c, 'ulimit -c 0 && exec "$$@"', --]
          ports:
            - {name: data, containerPort: 31337}
            - {name: control, containerPort: 31338}
          livenessProbe: {httpGet: {path: /healthz, port: control, scheme: ${scheme}}}
          readinessProbe: {httpGet: {path: /readyz, port: control, scheme: ${scheme}}}
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
            readOnlyRootFilesystem: true
          volumeMounts:
            - {name: config, mountPath: /etc/nbgov, readOnly: true}
            - {name: secrets, mountPath: /run/secrets/nbgov, readOnly: true}
            - {name: state, mountPath: /var/lib/nbgov}
            - {name: tmp, mountPath: /tmp}
      volumes:
        - {name: config, configMap: {name: nbgov}}
        - {name: secrets, secret: {secretName: nbgov, defaultMode: 0440}}
        - {name: state, persistentVolumeClaim: {claimName: nbgov}}
        - {name: tmp, emptyDir: {medium: Memory}}
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A file to be written.

    Attributes:
        name: Its name beside ``nbgov.yaml``.
        text: What is in it.
        mode: Who may do what with it.
    """

    name: str
    text: bytes
    mode: int = 0o644


def section(host: str | None) -> str:
    """The section ``gateway:`` of ``nbgov.yaml``; for the network where there is a host."""
    address = "127.0.0.1" if host is None else "0.0.0.0"  # noqa: S104 - with TLS, as asked for
    places = "" if host is None else Template(PLACES).substitute(host=host)
    return Template(SECTION).substitute(address=address, places=places)


def services(path: Path, state: Path, *, command: Sequence[str], is_tls: bool) -> tuple[Draft, ...]:
    """A systemd unit and a Kubernetes manifest.

    Args:
        path: The ``nbgov.yaml``.
        state: Its state folder.
        command: What runs ``nbgov``.
        is_tls: Whether the control plane speaks TLS.
    """
    at_home = any(str(one).startswith(("/home", "/root")) for one in (path, state, *command))
    unit = Template(UNIT).substitute(
        folder=path.parent,
        command=" ".join(command),
        config=path,
        state=state,
        home="read-only" if at_home else "yes",
    )
    manifest = Template(MANIFEST).substitute(scheme="HTTPS" if is_tls else "HTTP")
    return (
        Draft("nbgov-gateway.service", unit.encode()),
        Draft("nbgov-gateway.kubernetes.yaml", manifest.encode()),
    )


def certificate(host: str, *, now: datetime) -> tuple[Draft, ...]:
    """A key, its certificate, and the one that clients trust.

    The key of the authority that signs it exists nowhere afterwards, so that nothing else is ever
    under it.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def begun(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + DAYS)
        own = x509.SubjectKeyIdentifier.from_public_key(public)
        above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        return builder.add_extension(own, critical=False).add_extension(above, critical=False)

    signer, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = named(f"nbgov gateway {host}")
    authority = (
        begun(issuer, signer.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(is_authority=True), critical=True)
        .sign(signer, hashes.SHA256())
    )
    own = (
        begun(named(host), key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([general_name(host)]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = serialization.Encoding.PEM
    return (
        Draft(KEY, private, 0o600),
        Draft(CERTIFICATE, own.public_bytes(pem)),
        Draft(AUTHORITY, authority.public_bytes(pem)),
    )


def usage(*, is_authority: bool) -> KeyUsage:
    """What a key may be used for: to sign certificates, or to prove oneself."""
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )


def general_name(host: str) -> GeneralName:
    """A host as a certificate names it."""
    from ipaddress import ip_address

    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
