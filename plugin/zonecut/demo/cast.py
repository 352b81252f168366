"""What the steps of the tour share: who plays, what was made so far, and the checks that come again and again."""

from collections.abc import Sequence

from zonecut.demo.answers import Answer
from zonecut.demo.authority import PARENT
from zonecut.demo.child import Child
from zonecut.demo.narrator import Narrator
from zonecut.demo.stage import Stage
from zonecut.protocol import names
from zonecut.protocol.keyfiles import file_stem
from zonecut.protocol.update import Action, Operation, type_text

ALPHA = f"alpha.{PARENT}"
BETA = f"beta.{PARENT}"


class Cast:
    """The stage, the narrator, alpha's operator and an attacker. Steps fill in what later ones need."""

    def __init__(self, stage: Stage, tell: Narrator) -> None:
        self.stage = stage
        self.tell = tell
        self.alpha = Child(names.from_text(ALPHA))
        self.attacker = Child(self.alpha.name)
        """Has made a key that says it is alpha's."""
        self.key_file = ""
        """alpha's public key, as commands take it."""
        self.zone_before: list[str] = []
        self.change = b""
        """The UPDATE that is accepted."""
        self.refused: list[str] = []
        """The rules by which changes with a genuine signature of alpha were refused."""

    def update(self, operations: Sequence[Operation], signer: Child | None = None) -> bytes:
        """An UPDATE of the parent zone, signed by alpha unless told otherwise."""
        return (signer or self.alpha).update(self.stage.zone_name, operations)

    def show_typed(self, title: str, operations: Sequence[Operation], signer: Child | None = None) -> None:
        """Show a request as what its sender types into nsupdate."""
        directory = "attacker" if signer else "keys"
        lines = [
            f"nsupdate -v -k {directory}/{file_stem((signer or self.alpha).key)}.private",
            f"server 127.0.0.1 {self.stage.port}",
            f"zone {PARENT}",
            *map(_nsupdate, operations),
            "send",
        ]
        self.tell.show(title, "", "\n".join(lines))

    def show_answer(self, answer: Answer, title: str = "The answer") -> None:
        self.tell.show(title, self.stage.render(answer.wire))

    def explain(self, wire: bytes, name: str, *, whole: bool = False) -> None:
        """Show what `zonecut explain` says of a message that is refused; the message itself only if `whole`."""
        done = self.stage.zonecut("explain", self.stage.keep(wire, name), expect=1)
        output = done.output
        if not whole:
            _, found, rest = output.partition("\nsigned by\n")
            output = f"(the message in dig's style is left out here)\n{found}{rest}" if found else output
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
    text = operation.to_text()
    if operation.action is not Action.ADD:
        return f"update {text}"
    owner, kind = names.to_text(operation.owner), type_text(operation.rtype)
    return f"update {text.replace(f'{owner} {kind}', f'{owner} 3600 {kind}', 1)}"
