"""What the tests of the child's talk with its parent have in common. No network."""

from collections.abc import Mapping

from zonecut.protocol import names
from zonecut.protocol.codepoints import DEFAULT, Algorithm, RRType
from zonecut.protocol.keys import KeyPair
from zonecut.resolve import Answer, Status, Verdict

CHILD = names.from_text("child.parent.example.")
PARENT = names.from_text("parent.example.")
TARGET = names.from_text("updater.parent.example.")
SECURE, INSECURE, BOGUS, INDETERMINATE = Verdict.SECURE, Verdict.INSECURE, Verdict.BOGUS, Verdict.INDETERMINATE

Question = tuple[str, RRType]


def pair(owner: bytes) -> KeyPair:
    return KeyPair.generate(owner, Algorithm.ED25519, DEFAULT)


def found(*rdatas: bytes, verdict: Verdict = SECURE, status: Status = Status.FOUND, signer: str = "") -> Answer:
    """An answer with records; who asks gives it its name and type."""
    wire = names.from_text(signer) if signer else PARENT
    secure = verdict is SECURE
    return Answer(b"", 0, verdict, status, "because", rdatas, 60, wire if secure else None, 0)


def absent(soa: str = "parent.example.", *, verdict: Verdict = SECURE, status: Status = Status.NXDOMAIN) -> Answer:
    wire = names.from_text(soa) if soa else None
    return Answer(b"", 0, verdict, status, "because", (), 60, wire if verdict is SECURE else None, 0, wire)


def failing(verdict: Verdict = INDETERMINATE) -> Answer:
    return Answer(b"", 0, verdict, Status.FAILED, "because")


class Told:
    """Look-ups that end in what is written down; everything else is securely absent. Counts the questions."""

    def __init__(self, answers: Mapping[Question, Answer], rest: Answer | None = None) -> None:
        self._answers = {(names.from_text(name), int(rtype)): answer for (name, rtype), answer in answers.items()}
        self._rest = rest or absent()
        self.asked: list[str] = []

    async def lookup(self, name: bytes, rtype: int) -> Answer:
        self.asked.append(f"{names.to_text(name)} {RRType(rtype).text}")
        answer = self._answers.get((name, rtype), self._rest)
        fields = (answer.verdict, answer.status, answer.reason, answer.rdatas, answer.ttl, answer.signer)
        return Answer(name, rtype, *fields, answer.rcode, answer.soa, target=answer.target)
