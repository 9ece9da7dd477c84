"""Figures: real requests replayed, and the parts measured beside their peers."""
