"""Exercises, labs and the class: answers that check themselves, and where everybody is.

exercises    the checks of the notebooks' exercises
labs         the checks of the labs, and a run to work on
progress     how far a participant is, from the run directory
board        the class on one page
sheet        what a class costs and downloads
certificate  a page of proof for a participant, and whether it is genuine
"""
