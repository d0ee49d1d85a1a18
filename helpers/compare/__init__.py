"""Notebook 08: runs beside each other; forks and sweeps that make them. 09: which rows count, how many, and luck.

runs      every run on the disk, as one object each
table     best first: table, curves, paired tests
overfit   a stored run that overfits, to lay beside them
seeds     runs that differ in their luck alone
proven    what may be said, in sentences
choices   what a sweep is to try, checked before the first fork
sweep     many forks, one after the other, the worse ones stopped early
suspects  the training rows by their loss, worst first
take_out  a fork without some of them, and whether it is better
enough    forks that learn from a part of the rows
curve     what more rows would be worth
luck      rows against seeds, and what more of either would buy
"""
