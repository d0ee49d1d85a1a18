"""Exercises, labs and the class: answers that check themselves, and where everybody is.

tasks        what an exercise and a lab have in common
exercises    the checks of the notebooks' exercises
lab_answers  the checks of the labs
labs         a lab's check, and a run to work on
fence        somebody else's folder, read so that nothing in it can do harm
progress     how far a participant is, from the run directory
board        the class on one page
marks        class.csv for Moodle, Canvas and nbgrader
"""
