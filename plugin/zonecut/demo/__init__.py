"""The guided tour: a parent zone and two children on loopback, with a real receiver, step by step and checked."""

from zonecut.demo.report import Report
from zonecut.demo.stage import AUTHORITIES
from zonecut.demo.tour import run

__all__ = ["AUTHORITIES", "Report", "run"]
