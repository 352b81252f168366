"""`zonecut child`: the agent's work, step by step, for whoever runs a child zone."""
