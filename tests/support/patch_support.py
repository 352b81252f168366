"""RRsets of a PATCH, as front ends write them. No tests of its own."""

from typing import Any


def rrset(name: str, rtype: str, *contents: str, **more: Any) -> dict[str, Any]:
    """An RRset as PowerDNS front ends send it; without contents, its deletion."""
    records = [{"content": content, "disabled": False} for content in contents]
    change = {"changetype": "REPLACE", "ttl": 3600, "records": records} if contents else {"changetype": "DELETE"}
    return {"name": name, "type": rtype, **change, **more}
