"""Exercises, labs and the class: answers that check themselves, and where everybody is.

exercises    the checks of the notebooks' exercises
labs         the checks of the labs, and a run to work on
fence        somebody else's folder, read so that nothing in it can do harm
progress     how far a participant is, from the run directory
board        the class on one page
marks        class.csv for Moodle, Canvas and nbgrader
"""
