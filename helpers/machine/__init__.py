"""Notebooks 01 and 02: this machine, and who is logged in on it.

checks    disk, memory, packages, GPU: green or a sentence
accounts  the hub and W&B
"""
