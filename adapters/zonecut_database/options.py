"""What the configuration says about a database."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from zonecut.files.absolutepath import AbsolutePath

if TYPE_CHECKING:
    from sqlalchemy import URL

_ACCEPTED = (
    "sqlite:////absolute/path/to/file.db, postgresql+psycopg://user@host/database or"
    " mariadb+pymysql://user@host/database"
)
_SECRETS = frozenset(
    (
        "password",
        "passwd",
        "sslpassword",
        "ssl_key_password",
        "oauth_client_secret",
        "scram_client_key",
        "scram_server_key",
    )
)
"""Parameters of the drivers that are no one's business in a configuration file."""
_OF_MARIADB = ("ssl_ca", "ssl_cert", "ssl_key", "unix_socket")
"""Parameters that a URL for MariaDB may have."""


class DatabaseOptions(BaseModel):
    """Options of the adapter `database`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(
        description="An SQLAlchemy URL: sqlite:////path/to/file.db, postgresql+psycopg://user@host/database or"
        " mariadb+pymysql://user@host/database; libpq's parameters, as those for TLS, follow after a question mark,"
        " for MariaDB ssl_ca, ssl_cert, ssl_key and unix_socket."
    )
    password_file: AbsolutePath | None = Field(
        None,
        description="File with the password for PostgreSQL or MariaDB; without it, libpq looks where it always does,"
        " and MariaDB is told none, as is right for its unix_socket authentication.",
    )
    timeout: float = Field(5.0, ge=0.5, le=60, description="Seconds that an operation may take, connecting included.")

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        parse_url(url)
        return url

    @model_validator(mode="after")
    def _password_has_use(self) -> "DatabaseOptions":
        if self.password_file is not None and self.parsed_url.get_backend_name() == "sqlite":
            raise ValueError(
                "`password_file` is for PostgreSQL and MariaDB: SQLite knows no passwords, only permissions of files"
            )
        return self

    @property
    def parsed_url(self) -> "URL":
        return parse_url(self.url)


def parse_url(text: str) -> "URL":
    """The URL of a database that the adapter can use. Raises ValueError, without quoting a password."""
    # imported when a zone uses the adapter: most commands have no use for it
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # a port that is no number
        raise ValueError(f"it is no database URL; one looks like {_ACCEPTED}") from None
    if url.password is not None or _SECRETS & url.query.keys():
        raise ValueError("a password does not belong into the URL: put it into a file and name it in `password_file`")
    if url.drivername in ("sqlite", "sqlite+pysqlite"):
        if not (url.database or "").startswith("/") or url.query:
            raise ValueError(f"{text!r}: SQLite needs the absolute path of a file: sqlite:////path/to/file.db")
        return url
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        if not url.database and "service" not in url.query:
            raise ValueError(f"{text!r} names no database; one looks like {_ACCEPTED}")
        return url.set(drivername="postgresql+psycopg")
    if url.drivername in ("mariadb", "mariadb+pymysql"):
        _check_mariadb(text, url)
        return url.set(drivername="mariadb+pymysql")
    raise ValueError(f"{url.drivername!r} is no database that is supported; there is {_ACCEPTED}")


def _check_mariadb(text: str, url: "URL") -> None:
    """Raises ValueError for a URL that leaves open what is meant."""
    if not url.database:
        raise ValueError(f"{text!r} names no database; one looks like {_ACCEPTED}")
    unknown = sorted(url.query.keys() - set(_OF_MARIADB))
    if unknown:
        raise ValueError(f"{text!r}: {', '.join(unknown)}: for MariaDB there is {', '.join(_OF_MARIADB)}")
    if any(not isinstance(value, str) or not value.startswith("/") for value in url.query.values()):
        raise ValueError(f"{text!r}: each of {', '.join(_OF_MARIADB)} is one absolute path")
    if "ssl_key" in url.query and "ssl_cert" not in url.query:
        raise ValueError(f"{text!r}: `ssl_key` is the key of a certificate: name that in `ssl_cert`")
    if "unix_socket" in url.query and (url.host or url.port):
        raise ValueError(f"{text!r}: it is `unix_socket` or a host, not both")


def shown(url: "URL") -> str:
    """The URL for messages, as people write it."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"  # SQLAlchemy would escape it
    return url.set(query={}).render_as_string()
