"""The lab works by itself, before anything is said about zonecut with it."""

import os
from pathlib import Path

import dns.name
import dns.rcode
import dns.rdatatype
import psycopg
import pytest

from lab.child import dig, make_key
from lab.daemons.named import Named, StartNamed
from lab.daemons.postgresql import PostgreSql
from lab.daemons.server import verify_zone
from lab.nsupdate import nsupdate
from lab.ports import free_port
from lab.process import LabError, Process, until
from lab.zones import PARENT, ParentZone, Signing

ADDED = dns.name.from_text(f"ns3.child0.{PARENT}")
ADD = f"update add {ADDED} 3600 A 11.1.2.3"


def test_named_answers_from_its_generated_zone(named: Named) -> None:
    answer = named.query(f"child1.{PARENT}", "NS")
    assert answer.rcode() == dns.rcode.NOERROR
    assert [str(rrset.name) for rrset in answer.authority] == [f"child1.{PARENT}"] * len(answer.authority)
    # SOA, NS and its address; per child two NS, one DS, three addresses.
    assert sum(len(rdataset) for _, rdataset in named.axfr().iterate_rdatasets()) == 3 + 3 * 6


def test_named_takes_a_zone_as_text_beside_others(start_named: StartNamed) -> None:
    text = "$TTL 60\n@ SOA ns1 hostmaster 7 60 60 60 60\n@ NS ns1\nns1 A 127.0.0.1\n"
    named = start_named(ParentZone("a.test.", text=text), ParentZone("b.test."))
    assert "7 60 60 60 60" in str(named.query("a.test.", "SOA", tcp=True).answer[0])
    assert named.axfr("b.test.").get_rdataset("b.test.", "SOA") is not None


def test_named_looks_nothing_up(named: Named) -> None:
    assert named.query("elsewhere.test.", "A").rcode() == dns.rcode.REFUSED


def test_an_update_by_hand_is_seen_by_a_transfer(named: Named) -> None:
    outcome = named.nsupdate(ADD)
    assert outcome.rcode == "NOERROR"
    assert named.axfr().get_rdataset(ADDED, "A") is not None


def test_named_refuses_an_update_without_its_key(named: Named) -> None:
    outcome = nsupdate(ADD, port=named.port, zone=PARENT)
    assert outcome.rcode == "REFUSED"
    assert outcome.exit_status != 0
    assert named.axfr().get_rdataset(ADDED, "A") is None


def test_named_refuses_a_transfer_without_its_key(named: Named) -> None:
    assert "Transfer failed" in dig(PARENT, "AXFR", port=named.port).text


def test_the_tsig_key_is_nobody_elses(named: Named) -> None:
    assert named.tsig_file.stat().st_mode & 0o777 == 0o600


def test_a_change_survives_sigkill_and_a_restart_on_the_same_port(named: Named) -> None:
    named.nsupdate(ADD)
    before = named.pid
    named.kill()
    assert not named.running
    named.start()
    assert named.pid != before
    assert named.axfr().get_rdataset(ADDED, "A") is not None


def test_a_frozen_zone_is_edited_in_its_file(named: Named) -> None:
    named.nsupdate(ADD)
    file = named.freeze()
    assert "11.1.2.3" in file.read_text()
    assert nsupdate(ADD, port=named.port, zone=PARENT, key_file=named.tsig_file).rcode == "REFUSED"
    file.write_text(file.read_text().replace("11.1.2.3", "11.1.2.4"))
    named.thaw()

    def edited() -> bool:
        return "11.1.2.4" in str(named.axfr().get_rdataset(ADDED, "A"))

    until(edited, timeout=5, what="the edited zone is served")


@pytest.mark.parametrize("signing", [Signing.IN_PLACE, Signing.INLINE])
def test_a_signed_zone_is_signed_all_over_and_stays_so(
    start_named: StartNamed, tmp_path: Path, signing: Signing
) -> None:
    named = start_named(ParentZone(PARENT, delegations=20, signing=signing))
    named.verify()
    answer = dig(f"child3.{PARENT}", "DS", "+dnssec", port=named.port)
    assert answer.status == "NOERROR"
    assert "RRSIG\tDS 13" in answer.text

    named.nsupdate(f"update delete child3.{PARENT} DS")

    def without_ds() -> bool:
        return not named.query(f"child3.{PARENT}", "DS", dnssec=True).answer

    # An inline-signed zone shows a change a moment after the update was answered.
    until(without_ds, timeout=2, what="the DS is gone")
    named.verify()

    named.kill()
    named.start()
    assert without_ds()


def test_verifying_an_unsigned_zone_fails(named: Named, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="dnssec-verify"):
        verify_zone(named.axfr(), tmp_path)


@pytest.mark.parametrize(
    ("algorithm", "number"),
    [
        ("RSASHA256", 8),
        ("RSASHA512", 10),
        ("ECDSAP256SHA256", 13),
        ("ECDSAP384SHA384", 14),
        ("ED25519", 15),
        ("ED448", 16),
    ],
)
def test_a_child_key_is_made_by_the_stock_tool(tmp_path: Path, algorithm: str, number: int) -> None:
    key = make_key(tmp_path, f"child0.{PARENT}", algorithm)
    assert f"child0.{PARENT} IN KEY 512 3 {number} " in key.public_file.read_text()
    assert key.private_file.stat().st_mode & 0o777 == 0o600
    assert f"+{number:03}+{key.keyid:05}" in key.public_file.name


def test_named_does_not_take_a_sig0_signature_for_a_permission(named: Named, tmp_path: Path) -> None:
    key = make_key(tmp_path, f"child0.{PARENT}")
    outcome = nsupdate(ADD, port=named.port, zone=PARENT, key_file=key.private_file, tcp=True)
    # 9.18 refuses, 9.20 says SERVFAIL.
    assert outcome.rcode in {"REFUSED", "SERVFAIL"}
    assert named.axfr().get_rdataset(ADDED, "A") is None


def test_nsupdate_without_any_answer_has_no_rcode() -> None:
    outcome = nsupdate(ADD, port=free_port(), zone=PARENT, timeout=1, udp_timeout=1, udp_retries=0)
    assert outcome.rcode is None
    assert outcome.exit_status != 0


def test_a_server_that_dies_at_start_shows_its_log(start_named: StartNamed) -> None:
    with pytest.raises(LabError, match="unknown option 'nonsense'"):
        start_named(ParentZone(PARENT), options="nonsense yes;")


def test_a_process_that_ignores_sigterm_is_killed_with_all_its_children(tmp_path: Path) -> None:
    stubborn = Process(
        ["/bin/sh", "-c", "trap '' TERM; sleep 1000 & echo $! > inner; while :; do sleep 1000; done"],
        name="stubborn",
        directory=tmp_path,
        ready=lambda: (tmp_path / "inner").exists() and (tmp_path / "inner").read_text().endswith("\n"),
        stop_timeout=0.2,
    )
    with stubborn:
        inner = int((tmp_path / "inner").read_text())
        assert stubborn.stop() == -9
    until(lambda: not _alive(inner), timeout=2, what="the inner process is gone")


def test_a_process_is_pinned_with_all_its_threads(start_named: StartNamed) -> None:
    named = start_named(ParentZone(PARENT), cpus={0})
    threads = [int(task.name) for task in Path(f"/proc/{named.pid}/task").iterdir()]
    assert len(threads) > 1
    assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {frozenset({0})}


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_ports_are_not_handed_out_twice() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50


def test_postgresql_comes_back_after_sigkill_with_what_was_committed(postgresql: PostgreSql) -> None:
    postgresql.execute("CREATE TABLE marks (mark text)", "INSERT INTO marks VALUES ('here')")
    with postgresql.connect() as idle:
        postgresql.kill()
        assert not postgresql.running
        postgresql.start()
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")
    assert postgresql.execute("SELECT mark FROM marks") == [("here",)]
    postgresql.execute("DROP TABLE marks")


def test_postgresql_refuses_a_wrong_password(postgresql: PostgreSql, tmp_path: Path) -> None:
    file = tmp_path / "someone.password"
    postgresql.create_role("someone", file)
    assert file.stat().st_mode & 0o777 == 0o600
    with postgresql.connect(user="someone", password=file.read_text().strip()) as connection:
        assert connection.execute("SELECT current_user").fetchall() == [("someone",)]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        postgresql.connect(user="someone", password="wrong")
    postgresql.execute("DROP ROLE someone")
