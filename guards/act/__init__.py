"""Interventions on a flagged prompt."""
