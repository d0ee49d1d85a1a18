"""Notebooks 01 and 02: this machine, and who is logged in on it.

places    a row of the table; disk, memory, and what outlives a pod's stop
checks    packages, GPU, kernel: green or a sentence
accounts  what may be downloaded, and where curves go
"""
