"""Measurements, run by ``scripts/bench``: always beside something else in one run, because machines differ."""
