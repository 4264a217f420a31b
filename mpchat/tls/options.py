"""The section ``tls`` of a listener, userver's and ours."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from mpchat.config.types import ConfigPath, OptionsModel


def _version(value: Any) -> Any:
    """Return a version as text; without quotes YAML reads it as a number."""
    return str(value) if isinstance(value, float) else value


class CertificateOptions(OptionsModel):
    """A certificate with its private key: an entry of ``certificates``."""

    cert: Annotated[
        ConfigPath,
        Field(
            description="PEM file with the certificate, and behind it those that lead to an authority"
        ),
    ]
    private_key: Annotated[
        ConfigPath,
        Field(
            alias="private-key",
            description="PEM file with its private key. Only the process that loads the service reads "
            "it: workers need no access",
        ),
    ]
    private_key_passphrase_name: Annotated[
        str | None,
        Field(
            alias="private-key-passphrase-name",
            description="Name of the passphrase of an encrypted key among the `passphrases` of secdist",
        ),
    ] = None
    private_key_passphrase: Annotated[
        SecretStr | None,
        Field(
            alias="private-key-passphrase",
            description="The passphrase itself, by `private-key-passphrase#env` or "
            "`private-key-passphrase#file`",
        ),
    ] = None

    @model_validator(mode="after")
    def _one_passphrase(self) -> Self:
        if None not in {self.private_key_passphrase_name, self.private_key_passphrase}:
            text = "expected either private-key-passphrase-name or private-key-passphrase"
            raise PydanticCustomError("passphrase", text)
        return self


class TlsOptions(CertificateOptions):
    """TLS for everybody who connects to this listener."""

    certificates: Annotated[
        tuple[CertificateOptions, ...],
        Field(
            strict=False,
            description="Certificates for other names, each with `cert`, `private-key` and, where that "
            "is encrypted, an option for its passphrase. A client gets the one for the name that it asks "
            "for (SNI), else the one above",
        ),
    ] = ()
    ca: Annotated[
        tuple[ConfigPath, ...],
        Field(
            strict=False,
            description="PEM files of authorities. With them, every client needs a certificate that one "
            "of them has issued. A change needs a restart",
        ),
    ] = ()
    min_version: Annotated[
        Literal["1.2", "1.3"],
        BeforeValidator(_version, json_schema_input_type=str | float),
        Field(
            alias="min-version",
            description="The lowest version of TLS. A change needs a restart",
        ),
    ] = "1.2"
    session_tickets: Annotated[
        bool,
        Field(
            alias="session-tickets",
            description="Whether a client may resume its session, which saves the server the signature. "
            "All workers know the tickets' keys. `mpchat restart` makes new ones",
        ),
    ] = True

    def pairs(self) -> tuple[CertificateOptions, ...]:
        """Return all certificates; clients that ask for no name of the others get the first."""
        return (self, *self.certificates)
