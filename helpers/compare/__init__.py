"""Notebook 08: runs beside each other; forks and sweeps that make them.

runs      every run on the disk, as one object each
table     best first: table, curves, paired tests
seeds     runs that differ in their luck alone
proven    what may be said, in sentences
choices   what a sweep is to try, checked before the first fork
sweep     many forks, one after the other, the worse ones stopped early
"""
