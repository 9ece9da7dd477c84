"""Chaos: real nodes, agents and clients under load, with one fault after the other. `python -m tests.chaos`."""
