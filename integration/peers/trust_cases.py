"""Children with every method's reasons to trust a key, or not to, and what has to become of their keys."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dns.rrset
from dns.rdataclass import IN

from signer import Signer
from trust_tree import EXPIRED, NOBODY, ONE, OTHER, Hosted, key_text
from zonecut.demo.loopback import Exchange, LoopbackZone

APEX, STRICT, ANY, HOLD = "apex.test.", "strict.test.", "any.test.", "hold.test."
HOSTILE = "127.53.0.217"
"""Where the lab's own authority plays servers that no real server would be."""

HOLD_SECONDS = 3.0
PARENTS: dict[str, dict[str, Any]] = {
    APEX: {"bootstrap": ["at-apex"]},
    STRICT: {"bootstrap": ["at-ns"]},
    ANY: {"bootstrap": [{"method": "at-ns", "mode": "any"}]},
    HOLD: {"bootstrap": [{"method": "unsigned", "hold": HOLD_SECONDS, "rounds": 3, "min_vantage_points": 2}]},
}

N1, N2, N3 = "n1.ops.test.", "n2.ops.test.", "n3.ops.test."
PLAIN, BOGUS = "n1.plain.test.", "n1.bogus.test."
_HOSTS = {"n1": ONE, "n2": OTHER, "n3": ONE}

TRUSTED, FAILED = "trusted", "validation-failed"


@dataclass(frozen=True)
class Keys:
    """The key that a child uploads, and another one of the same name."""

    mine: Signer
    other: Signer


@dataclass(frozen=True)
class Case:
    """A child, what its key has to become, and words of the reason. `signalling` are records by zone of the servers."""

    keys: Keys
    hosted: Hosted
    state: str
    words: str
    signalling: Mapping[str, str] = field(default_factory=dict)


CASES: dict[str, Case] = {}


def _case(
    parent: str,
    label: str,
    state: str,
    words: str,
    content: Callable[[Keys], str] = lambda keys: key_text(keys.mine),
    *,
    other: Callable[[Keys], str] | None = None,
    signal: Mapping[str, Callable[[Keys, str], str]] | None = None,
    **options: Any,
) -> None:
    """`other` is served at the second address instead; `signal` makes records at the signalling name of a server."""
    name = f"{label}.{parent}"
    keys = Keys(Signer.generate(name), Signer.generate(name))
    signalling: dict[str, str] = {}
    for server, make in (signal or {}).items():
        host, zone = server.split(".", 1)
        signalling[zone] = signalling.get(zone, "") + make(keys, f"_sig0key.{name[:-1]}._signal.{host}")
    at = {OTHER: other(keys)} if other is not None else {}
    CASES[name] = Case(keys, Hosted(name, content(keys), at, **options), state, words, signalling)


def _mine(keys: Keys, owner: str) -> str:
    return key_text(keys.mine, owner=owner)


def _others(keys: Keys, owner: str) -> str:
    return key_text(keys.other, owner=owner)


def _alias(keys: Keys, owner: str) -> str:
    return f"{owner} CNAME target.{owner}\n" + key_text(keys.mine, owner=f"target.{owner}")


def _wildcard(keys: Keys, owner: str) -> str:
    return key_text(keys.mine, owner="*." + owner.split(".", 1)[1])


def _nothing(_: Keys) -> str:
    return ""


def _both(keys: Keys) -> str:
    return key_text(keys.mine, keys.other)


def _only_other(keys: Keys) -> str:
    return key_text(keys.other)


# at-apex

_case(APEX, "good", TRUSTED, "secure, and the key is there", signing=())
_case(APEX, "two-keys", TRUSTED, "secure, and the key is there", _both, signing=())
_case(APEX, "wrong-key", FAILED, "1 KEY record(s), this one is not there", _only_other, signing=())
_case(APEX, "no-key", FAILED, "no KEY of its own there", _nothing, signing=())
_case(APEX, "no-ds", FAILED, "the child has no DS")
_case(APEX, "signed-without-ds", FAILED, "the child has no DS", signing=(), ds=())
_case(APEX, "wrong-ds", FAILED, "bogus", signing=(), ds=["12345 15 2 " + "5A" * 32])
_case(APEX, "unsigned-with-ds", FAILED, "bogus", ds=["12345 15 2 " + "5A" * 32])
_case(APEX, "broken", FAILED, "does not verify", signing=(), broken="KEY")
_case(APEX, "expired", FAILED, "expired", signing=EXPIRED)
_case(APEX, "key-below", FAILED, "no KEY of its own there", lambda k: key_text(k.mine, owner="www"), signing=())
_case(APEX, "wildcard-below", FAILED, "no KEY of its own", lambda k: key_text(k.mine, owner="*"), signing=())

# at-ns


def _at_ns(label: str, strict: tuple[str, str], any_: tuple[str, str], *content: Any, **options: Any) -> None:
    _case(STRICT, label, *strict, *content, **options)
    _case(ANY, label, *any_, *content, **options)


_AGREED = (TRUSTED, "secure signalling record(s) and")
_ONE_SECURE = (TRUSTED, "secure")
_CONTRADICTED = (FAILED, "secure, and the key is not there")

_at_ns("good", _AGREED, _ONE_SECURE, ns=[N1, N2], signal={N1: _mine, N2: _mine})
_at_ns("beside-unsigned", _AGREED, _ONE_SECURE, ns=[N1, PLAIN], signal={N1: _mine})
_at_ns("beside-in-domain", _AGREED, _ONE_SECURE, ns=["ns1", N2], signal={N2: _mine})
_at_ns("no-signal", _CONTRADICTED, _CONTRADICTED, ns=[N1, N2])
_at_ns("half", _CONTRADICTED, _CONTRADICTED, ns=[N1, N2], signal={N1: _mine})
_at_ns("contradicting", _CONTRADICTED, _CONTRADICTED, ns=[N1, N2], signal={N1: _mine, N2: _others})
_at_ns("alias", _CONTRADICTED, _CONTRADICTED, ns=[N1], signal={N1: _alias})
_at_ns("wildcard", _CONTRADICTED, _CONTRADICTED, ns=[N3], signal={N3: _wildcard})
_at_ns(
    "all-unsigned",
    (FAILED, "no name server's signalling name is in a signed zone"),
    (FAILED, "no secure signalling record"),
    ns=[PLAIN],
    signal={PLAIN: _mine},
)
_at_ns("bogus", (FAILED, "bogus"), (FAILED, "no secure signalling record"), ns=[BOGUS], signal={BOGUS: _mine})
_at_ns("beside-bogus", (FAILED, "bogus"), _ONE_SECURE, ns=[N1, BOGUS], signal={N1: _mine, BOGUS: _mine})
_at_ns("has-ds", *[(FAILED, "the child has a DS")] * 2, ns=[N1, N2], signal={N1: _mine, N2: _mine}, signing=())
_at_ns(
    "not-at-other-apex", (FAILED, "no KEY RRset"), _ONE_SECURE, other=_nothing, ns=[N1, N2],
    signal={N1: _mine, N2: _mine},
)  # fmt: skip
_at_ns("more-at-apex", (FAILED, "another KEY RRset"), _ONE_SECURE, _both, ns=[N1], signal={N1: _mine})
# `_signal` under a name server in the child zone is the child's own word
_IN_DOMAIN = (FAILED, "no name server outside the child zone")


def _own_signal(keys: Keys) -> str:
    child = keys.mine.text[:-1]
    return key_text(keys.mine) + "".join(
        key_text(keys.mine, owner=f"_sig0key.{child}._signal.{host}") for host in ("ns1", "ns2")
    )


_at_ns("in-domain", _IN_DOMAIN, _IN_DOMAIN, _own_signal)
_at_ns("in-domain-and-outside", _CONTRADICTED, _CONTRADICTED, _own_signal, ns=["ns1", N2])

# unsigned

_case(HOLD, "good", TRUSTED, "4 answers from 2 places agree")
_case(HOLD, "outside", TRUSTED, "4 answers from 2 places agree", ns=[PLAIN, "n2.plain.test."])
_case(HOLD, "two-keys", TRUSTED, "4 answers from 2 places agree", _both)
_case(HOLD, "at-one-server", FAILED, "the key is not there", other=_nothing)
_case(HOLD, "other-at-one-server", FAILED, "the key is not there", other=_only_other)
_case(HOLD, "more-at-one-server", FAILED, "another KEY RRset", other=_both)
_case(HOLD, "has-ds", FAILED, "the child has a DS", signing=())
_case(HOLD, "silent-server", FAILED, f"ns2.silent-server.{HOLD} ({NOBODY})", glue={"ns1": ONE, "ns2": NOBODY})
_case(HOLD, "server-without-address", FAILED, "it has no address", ns=[PLAIN, "nobody.plain.test."])


def hosted_by_operators() -> list[Hosted]:
    """The zones of the name servers outside the children, with all signalling records."""

    def zone(name: str, **options: Any) -> Hosted:
        hosts = "".join(f"{host} A {address}\n" for host, address in _HOSTS.items())
        signalling = "".join(case.signalling.get(name, "") for case in CASES.values())
        return Hosted(name, hosts + signalling, **options)

    return [zone("ops.test.", signing=()), zone("plain.test."), zone("bogus.test.", signing=(), broken="KEY")]


# What only a hostile server answers: at the apex of signed and unsigned children, from the lab's own authority


@dataclass(frozen=True)
class Hostile:
    """A child at a server that lies about its KEY."""

    keys: Keys
    zone: LoopbackZone
    fault: Callable[[Exchange], None]
    state: str
    words: str

    @property
    def delegation(self) -> str:
        name = self.keys.mine.text
        ds = "".join(f"{name} DS {record}\n" for record in self.zone.ds)
        return f"{name} NS ns.{name}\nns.{name} A {HOSTILE}\n{ds}"


def _hostile(parent: str, label: str, make: Callable[[Keys], Any], words: str, *, signed: bool) -> None:
    name = f"{label}.{parent}"
    keys = Keys(Signer.generate(name), Signer.generate(name))
    content = f"@ NS ns\nns A {HOSTILE}\nwww A 192.0.2.1\n{key_text(keys.mine, owner='target')}"
    HOSTILES[name] = Hostile(keys, LoopbackZone(name, content, signed=signed), make(keys), FAILED, words)


def _sections(exchange: Exchange, rrsets: Sequence[dns.rrset.RRset]) -> None:
    assert exchange.response is not None
    assert exchange.zone is not None
    exchange.response.answer[:] = []
    exchange.response.authority[:] = []
    for rrset in rrsets:
        exchange.response.answer.append(rrset)
        if (signature := exchange.zone.signature(rrset)) is not None:
            exchange.response.answer.append(signature)


def _key_rrset(keys: Keys, owner: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(owner, 60, IN, "KEY", key_text(keys.mine).split("KEY ", 1)[1].strip())


def _alias_at_apex(keys: Keys) -> Callable[[Exchange], None]:
    """A CNAME beside everything else of the apex, and the KEY at its target."""
    name = keys.mine.text
    alias = dns.rrset.from_text(name, 60, IN, "CNAME", f"target.{name}")
    return lambda exchange: _sections(exchange, [alias, _key_rrset(keys, f"target.{name}")])


def _wildcard_at_apex(keys: Keys) -> Callable[[Exchange], None]:
    """The KEY with a signature that says that it stands at a wildcard, by the child's own key."""

    def fault(exchange: Exchange) -> None:
        name = keys.mine.text
        assert exchange.response is not None
        assert exchange.zone is not None
        signature = exchange.zone.signature(_key_rrset(keys, name))
        assert signature is not None
        synthesised = dns.rrset.from_rdata(name, 60, signature[0].replace(labels=signature[0].labels - 1))
        exchange.response.answer[:] = [_key_rrset(keys, name), synthesised]

    return fault


HOSTILES: dict[str, Hostile] = {}
# a resolver that has the alias cached says so of DNSKEY as well: then the chain of trust is what is missing
_hostile(APEX, "alias", _alias_at_apex, "at-apex: KEY at alias.apex.test.: ", signed=True)
_hostile(APEX, "wildcard", _wildcard_at_apex, "bogus", signed=True)
_hostile(HOLD, "alias", _alias_at_apex, "the key is not there", signed=False)
