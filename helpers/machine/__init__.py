"""Notebooks 01 and 02: this machine, and who is logged in on it.

row       one row of the table
checks    packages, GPU, kernel: green or a sentence
places    disk, memory, and what outlives a pod's stop
accounts  the hub and W&B
"""
