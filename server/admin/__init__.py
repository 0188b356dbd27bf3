"""The control plane: forget requests, explanations, decisions."""
