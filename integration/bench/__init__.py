"""What zonecut costs, each figure as a ratio to a limit that is measured in the same run: `python -m bench`.

One module a benchmark, named as its figure. The receiver runs alone on one core; the load and the server behind it on
the other.
"""
