"""Helpers for the notebooks: one idea per module, heavy imports only where they are used."""
