"""The guided tour: a parent zone with a receiver, a child with an agent and one without, on loopback and checked."""

from zonecut.demo.report import Report
from zonecut.demo.stage import AUTHORITIES
from zonecut.demo.tour import run

__all__ = ["AUTHORITIES", "Report", "run"]
