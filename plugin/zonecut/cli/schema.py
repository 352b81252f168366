"""`zonecut schema`: the JSON Schema of the configuration."""

from zonecut import config as configuration
from zonecut.cli.options import ConfigOption, JsonOption
from zonecut.cli.terminal import output
from zonecut.plugin.registry import create_manager


def command(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Print the JSON Schema of the configuration.

    It holds the options of every installed adapter. It is the same for every file, and always JSON.

    Example: zonecut schema > zonecut.schema.json
    """
    output.say_json(configuration.schema(create_manager()))
