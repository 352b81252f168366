"""The tour's first part: the parent zone, its receiver, and how a child finds that (steps 1 to 3)."""

from zonecut.demo.cast import Cast
from zonecut.demo.servers.authority import ALPHA, BETA, FIRST_SERIAL, PARENT
from zonecut.protocol.announced.dsync import Dsync, for_update, parent_name
from zonecut.protocol.announced.svcb import Method, Svcb, announced
from zonecut.protocol.codepoints import RRType
from zonecut.protocol.keys import Key


def before(cast: Cast) -> None:
    """The parent zone, and the receiver's configuration."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "The parent zone, before",
        """parent.example. delegates alpha and beta. Somebody typed each delegation in, and every change of it is a
        ticket. zonecut stands beside the server and takes such changes from the children themselves.""",
        "RFC 1034 section 4.2.1 (zone cuts)",
    )
    tell.show("The zone", stage.authority.listing(), stage.authority.command)
    tell.show(
        "zonecut's whole configuration (the tour's addresses are special ones, hence `glue_addresses: any`; the"
        " resolver is the tour's own, over a root, parent.example. and alpha that are signed for it)",
        stage.configuration,
        "cat zonecut.yaml",
    )
    tell.show("It runs already, as", "", "zonecut serve --config zonecut.yaml")
    cast.zone_before = stage.records()
    delegated = [name for name in (ALPHA, BETA) if any(" NS " in line for line in stage.records_of(name))]
    tell.check("the zone delegates alpha and beta", [ALPHA, BETA], delegated)
    signed = [line.split(" DS ")[1].strip() for line in stage.records_of(ALPHA) if " DS " in line]
    tell.check("alpha is signed: its DS is there", [stage.alpha.ds], signed)
    tell.check(f"the serial is {FIRST_SERIAL}", FIRST_SERIAL, stage.serial())


def announce(cast: Cast) -> None:
    """DSYNC, KEY and SVCB, written by a command."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "The parent announces its receiver",
        """DSYNC says where UPDATEs go, KEY with what the receiver signs its answers, SVCB how a child's key comes to be
        trusted.""",
        "RFC 9859 section 4 (discovery)",
        "RFC 9460 (SVCB)",
    )
    done = stage.receiver.run("parent", "publish", PARENT)
    title = "The parent's operator types (`publish: true` in the configuration does it at start)"
    tell.show(title, done.output, done.line)
    stage.sign_parent()

    dsync = stage.tree.look_up(parent_name(stage.zone_name), RRType.DSYNC)
    (receiver,) = for_update(map(Dsync.from_wire, dsync.rdatas))
    keys = stage.tree.look_up(receiver.target, RRType.KEY)
    svcb = stage.tree.look_up(receiver.target, RRType.SVCB)
    cast.receiver_key = Key.from_rdata(receiver.target, keys.rdatas[0])
    tell.check("DSYNC leads to the port on which zonecut listens", stage.port, receiver.port)
    tell.check("there is one KEY to verify answers with", 1, len(keys.rdatas))
    methods = announced(map(Svcb.from_wire, svcb.rdatas))
    tell.check("SVCB offers at-apex, and an operator as a last resort", (Method.AT_APEX, Method.MANUAL), methods)


def discover(cast: Cast) -> None:
    """alpha's own side, and whom it would talk to."""
    tell, stage = cast.tell, cast.stage
    tell.step(
        "alpha's side finds it",
        """alpha is somebody else's zone, on somebody else's server, which signs it. Beside that server another zonecut
        is to run, the child's agent. It reads the zone by queries (`primary`), writes nothing but its own KEY record
        (`backend`), and need not be told who the parent's receiver is: it looks, through a resolver that it need not
        trust, since it validates all answers itself, from the trust anchor down.""",
        "RFC 9859 section 4.1 (the search)",
    )
    alpha = stage.alpha
    tell.show("alpha's zone", alpha.filed.file.read_text(), f"cat {alpha.file}")
    title = "The agent's whole configuration (everybody is on 127.0.0.1 here, hence `parent`; and a tour is impatient)"
    tell.show(title, alpha.configuration, f"cat {alpha.agent.configuration}")
    done = alpha.agent.run("child", "discover", ALPHA)
    tell.show("alpha's operator asks where changes of alpha would go", done.output, done.line)
    assert cast.receiver_key is not None
    lines = [line.split(maxsplit=1) for line in done.output.splitlines()]
    tell.check("it is the receiver that was announced", True, ["addresses", f"127.0.0.1:{stage.port}"] in lines)
    tell.check("with its key", True, cast.receiver_key.fingerprint() in done.output)
    tell.check("for which DNSSEC vouches", True, ["worth", "validated: DNSSEC vouches for it"] in lines)
