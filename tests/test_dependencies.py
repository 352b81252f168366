"""What pyproject.toml asks for is what the program imports, each once."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MODULES = {"dnspython": "dns", "pyyaml": "yaml", "libknot": "libknot.control"}
"""What a distribution is imported as, where that is not its name."""


def distribution(requirement: str) -> str:
    (name,) = re.findall(r"^[\w.-]+", requirement)
    return str(name).lower()


def test_every_dependency_is_imported() -> None:
    text = "\n".join(path.read_text() for place in ("plugin", "adapters") for path in (ROOT / place).rglob("*.py"))
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    wanted = {
        distribution(each) for each in project["dependencies"] + [one for extra in extras.values() for one in extra]
    }
    for name in wanted - {"zonecut"}:
        module = re.escape(MODULES.get(name, name.replace("-", "_")))
        # a driver is named in the URL of its data base
        assert re.search(rf"^\s*(?:import|from) {module}\b|\"\w+\+{module}\b|import_module\(\"{module}", text, re.M), (
            name
        )


def test_nothing_is_asked_for_twice() -> None:
    groups = [PROJECT["project"]["dependencies"], PROJECT["dependency-groups"]["dev"]]
    for group in (*groups, *PROJECT["project"]["optional-dependencies"].values()):
        names = [distribution(each) for each in group]
        assert sorted(set(names)) == sorted(names)
