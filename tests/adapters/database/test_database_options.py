"""The options of the adapter `database`: which URLs it takes, and that no password is ever told."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from zonecut.plugin.registry import adapters, create_manager
from zonecut_database.options import DatabaseOptions, shown

FILE = "sqlite:////var/lib/registry/zones.db"
SERVER = "postgresql+psycopg://zonecut@db.example/registry"
MARIADB = "mariadb+pymysql://zonecut@db.example/registry"
SOCKET = "mariadb+pymysql://zonecut@/registry?unix_socket=/run/mysqld/mysqld.sock"


def test_the_adapter_registers_under_its_name() -> None:
    assert adapters(create_manager())["database"].options is DatabaseOptions


def test_the_defaults_are_the_documented_ones() -> None:
    assert DatabaseOptions(url=FILE).model_dump() == {"url": FILE, "password_file": None, "timeout": 5.0}


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        (FILE, "sqlite"),
        (SERVER, "postgresql+psycopg"),
        ("postgresql://zonecut@db.example/registry", "postgresql+psycopg"),
        ("postgresql:///registry?host=/run/postgresql", "postgresql+psycopg"),
        ("postgresql:///?service=registry&passfile=/etc/zonecut/pgpass", "postgresql+psycopg"),
        (f"{SERVER}?sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem", "postgresql+psycopg"),
        (MARIADB, "mariadb+pymysql"),
        ("mariadb://zonecut@db.example:3307/registry?ssl_ca=/ca.pem&ssl_cert=/c.pem&ssl_key=/k.pem", "mariadb+pymysql"),
        (SOCKET, "mariadb+pymysql"),
    ],
)
def test_urls_that_are_taken(url: str, driver: str) -> None:
    assert DatabaseOptions(url=url).parsed_url.drivername == driver


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("registry.db", "it is no database URL; one looks like sqlite:////absolute"),
        ("postgresql://zonecut@db.example:port/registry", "it is no database URL"),
        ("sqlite://", "SQLite needs the absolute path of a file"),
        ("sqlite:///zones.db", "SQLite needs the absolute path of a file"),
        ("sqlite:///:memory:", "SQLite needs the absolute path of a file"),
        (f"{FILE}?mode=ro", "SQLite needs the absolute path of a file"),
        ("mysql://zonecut@db.example/registry", "'mysql' is no database that is supported"),
        ("postgresql+asyncpg://zonecut@db.example/registry", "'postgresql\\+asyncpg' is no database"),
        ("postgresql://zonecut@db.example", "names no database"),
        ("mysql+pymysql://zonecut@db.example/registry", "is no database that is supported"),
        ("mariadb+mysqldb://zonecut@db.example/registry", "'mariadb\\+mysqldb' is no database that is supported"),
        ("mariadb://zonecut@db.example", "names no database"),
        (f"{MARIADB}?init_command=x&charset=latin1", "charset, init_command: for MariaDB there is ssl_ca, ssl_cert"),
        (f"{MARIADB}?ssl_ca=ca.pem", "is one absolute path"),
        (f"{MARIADB}?ssl_ca=/a&ssl_ca=/b", "is one absolute path"),
        (f"{MARIADB}?ssl_ca=/a&ssl_key=/k", "name that in `ssl_cert`"),
        (f"{MARIADB}?unix_socket=/run/mysqld/mysqld.sock", "it is `unix_socket` or a host, not both"),
    ],
)
def test_urls_that_are_refused(url: str, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        DatabaseOptions(url=url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://zonecut:hunter2@db.example/registry",
        "postgresql://zonecut@db.example/registry?password=hunter2",
        "postgresql://zonecut@db.example/registry?sslkey=/k&sslpassword=hunter2",
        "mysql://zonecut:hunter2@db.example/registry",
        "mariadb://zonecut:hunter2@db.example/registry",
        f"{MARIADB}?passwd=hunter2",
        f"{MARIADB}?ssl_cert=/c&ssl_key=/k&ssl_key_password=hunter2",
        "postgresql://zonecut:hunter2@db.example:port/registry",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_told(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DatabaseOptions(url=url)
    (problem,) = refused.value.errors(include_url=False)
    assert "hunter2" not in problem["msg"]


def test_a_password_file_is_for_servers(tmp_path: Path) -> None:
    DatabaseOptions(url=SERVER, password_file=tmp_path)
    DatabaseOptions(url=MARIADB, password_file=tmp_path)
    with pytest.raises(ValidationError, match="`password_file` is for PostgreSQL and MariaDB"):
        DatabaseOptions(url=FILE, password_file=tmp_path)


def test_messages_show_the_url_as_it_was_written_without_parameters() -> None:
    assert shown(DatabaseOptions(url=FILE).parsed_url) == FILE
    assert shown(DatabaseOptions(url=f"{SERVER}?sslmode=require").parsed_url) == SERVER
    assert shown(DatabaseOptions(url=SOCKET).parsed_url) == "mariadb+pymysql://zonecut@/registry"
