"""What is tried every second is told when it fails for the first time, and when it does no more."""

from structlog.testing import capture_logs

from zonecut.receiver.trouble import Trouble


def test_a_trouble_is_told_once_and_its_end_once() -> None:
    trouble = Trouble("sweep.ended", zone="parent.example.")
    with capture_logs() as told:
        trouble.over()
        for _ in range(2):
            for number in range(100):
                trouble.again(f"away, try {number}", count=3)
            for _ in range(100):
                trouble.over()
    began = {"event": "sweep.ended", "zone": "parent.example.", "reason": "away, try 0", "count": 3}
    over = {"event": "sweep.ended.over", "zone": "parent.example.", "tries": 100}
    assert told == [{**began, "log_level": "warning"}, {**over, "log_level": "info"}] * 2
