"""What the configuration says about a database."""

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from zonecut.plugin.absolutepath import AbsolutePath

if TYPE_CHECKING:
    from sqlalchemy import URL

_ACCEPTED = "sqlite:////absolute/path/to/file.db or postgresql+psycopg://user@host/database"
_SECRETS = frozenset(("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"))
"""Parameters of libpq that are no one's business in a configuration file."""


class DatabaseOptions(BaseModel):
    """Options of the adapter `database`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(
        description="An SQLAlchemy URL: sqlite:////path/to/file.db or postgresql+psycopg://user@host/database; libpq's"
        " parameters, as those for TLS, follow after a question mark."
    )
    password_file: AbsolutePath | None = Field(
        None, description="File with the password for PostgreSQL; without it, libpq looks where it always does."
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
            raise ValueError("`password_file` is for PostgreSQL: SQLite knows no passwords, only permissions of files")
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
    raise ValueError(f"{url.drivername!r} is no database that is supported; there is {_ACCEPTED}")


def shown(url: "URL") -> str:
    """The URL for messages, as people write it."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"  # SQLAlchemy would escape it
    return url.set(query={}).render_as_string()
