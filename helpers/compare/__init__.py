"""Notebook 08: runs beside each other; forks and sweeps that make them.

runs   every run on the disk, as one object each
sweep  many forks, one after the other, the worse ones stopped early
table  best first: table, curves, paired tests, what is proven
"""
