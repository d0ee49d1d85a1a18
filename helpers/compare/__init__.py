"""Notebook 08: runs beside each other; forks and sweeps that make them."""
