"""What the steps of the tour share: who plays, what was made so far, and the checks that come again and again."""

from collections.abc import Sequence

from zonecut.demo.answers import Answer, is_signed
from zonecut.demo.child import Child
from zonecut.demo.narrator import Narrator
from zonecut.demo.servers.authority import ALPHA, BETA, PARENT
from zonecut.demo.stage import Stage
from zonecut.files.keyfiles import file_stem
from zonecut.protocol import names
from zonecut.protocol.codepoints import Rcode, ReceiverState, type_text
from zonecut.protocol.keys import Key
from zonecut.protocol.keystate import state_text
from zonecut.protocol.rrset import rdata_text
from zonecut.protocol.update import Action, Operation

_IN_SHORT = (";; ->>HEADER<<-", "; EDE:", "; signed by")


class Cast:
    """The stage, the narrator, beta's operator and an attacker. Steps fill in what later ones need."""

    def __init__(self, stage: Stage, tell: Narrator) -> None:
        self.stage = stage
        self.tell = tell
        self.beta = Child(names.from_text(BETA))
        """Its operator signs by hand."""
        self.attacker = Child(names.from_text(ALPHA))
        """Has made a key that says it is alpha's."""
        self.receiver_key: Key | None = None
        """With which the receiver signs its answers, as it is published."""
        self.zone_before: list[str] = []
        self.change = b""
        """The UPDATE of beta that is accepted."""
        self.refused: list[tuple[str, str]] = []
        """Whose changes with a genuine signature were refused, and by which rule."""

    def update(self, operations: Sequence[Operation], signer: Child | None = None) -> bytes:
        """An UPDATE of the parent zone, signed by beta unless told otherwise."""
        return (signer or self.beta).update(self.stage.zone_name, operations)

    def show_typed(self, title: str, operations: Sequence[Operation], signer: Child | None = None) -> None:
        """Show a request as what its sender types into nsupdate."""
        directory = "attacker" if signer else "beta"
        lines = [
            f"nsupdate -v -k {directory}/{file_stem((signer or self.beta).key)}.private",
            f"server 127.0.0.1 {self.stage.port}",
            f"zone {PARENT}",
            *map(_nsupdate, operations),
            "send",
        ]
        self.tell.show(title, "", "\n".join(lines))

    def show_answer(self, answer: Answer, *, whole: bool = False) -> None:
        """Show what came back; unless `whole`, only how it ended, why, and who signed it."""
        lines = self.stage.render(answer.wire).splitlines()
        if whole:
            self.tell.show("The answer", "\n".join(lines))
        else:
            self.tell.show("The answer, in short", "\n".join(line for line in lines if line.startswith(_IN_SHORT)))

    def ask_state(self, expected: ReceiverState, command: str | None = None, *, whole: bool = False) -> None:
        """beta asks what its key is worth: check what is answered, and by whom. Show the answer, only if `whole`
        with all that it holds."""
        wire = self.beta.inquire()
        answer = self.stage.send(wire)
        if whole:
            self.tell.show(
                "beta types (the tour signs it, too, which dig cannot)", self.stage.render(answer.wire), command
            )
        found = answer.keystate
        says = "no option" if found is None else _state(found.key_id, found.key_state, found.extra_text)
        self.tell.show("beta asks, and is told" if not whole else "The option says", says)
        good = self.receiver_key is not None and is_signed(answer.wire, self.receiver_key, wire)
        self.tell.check("the answer is signed with the KEY that the parent publishes", True, good)
        self.tell.check(
            f"beta's key is {state_text(expected)}",
            (Rcode.NOERROR, self.beta.key.tag, expected),
            (answer.rcode, found and found.key_id, found and found.key_state),
        )

    def explain(self, wire: bytes, name: str) -> None:
        """Show what `zonecut explain` says of a message that is refused, less the message itself."""
        done = self.stage.receiver.run("explain", self.stage.keep(wire, name), expect=1)
        _, found, rest = done.output.partition("\nsigned by\n")
        output = f"(the message in dig's style is left out here)\n{found}{rest}" if found else done.output
        self.tell.show("The parent's operator has that message in a file and asks why", output, done.line)

    def check_refused(self, answer: Answer, status: str, error: int | None, says: str = "") -> None:
        """Check the RCODE, the extended error's code (None: there is none) and that its text says something."""
        self.tell.check(f"the answer is {status}", status, answer.status)
        found = answer.error.code if answer.error else None
        if error is None:
            self.tell.check("nothing more is told to somebody who has proved nothing", None, found)
            return
        self.tell.check(
            f"extended error {error} names the reason",
            f"{error}: ... {says} ...",
            answer.why,
            passed=found == error and says in answer.why,
        )

    def check_zone(self, expected: list[str], serial: int) -> None:
        """Check that the zone is as it was, by its records and its serial."""
        self.tell.check("no record of the zone has moved", expected, self.stage.records())
        self.tell.check(f"its serial is still {serial}", serial, self.stage.serial())


def _nsupdate(operation: Operation) -> str:
    """As a line of nsupdate's input, with the TTL that it wants to see (the parent publishes its own)."""
    if operation.action is not Action.ADD:
        return f"update {operation.to_text()}"
    owner, kind = names.to_text(operation.owner), type_text(operation.rtype)
    return f"update add {owner} 3600 {kind} {rdata_text(operation.rtype, operation.rdata)}"


def _state(key_id: int, state: int, text: str) -> str:
    return f"KEY-ID {key_id}, KEY-STATE {state} ({state_text(state)})" + (f": {text}" if text else "")
