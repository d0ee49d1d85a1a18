"""Exercises, labs and the class: answers that check themselves, and where everybody is.

fence        somebody else's folder, read so that nothing in it can do harm
tasks        what an exercise and a lab have in common
nearby       what an exercise reads of a run, and of the runs beside it
by_hand      the exercises of 09, A4 and A5
looked       those whose answer is read off the page
exercises    the checks of the notebooks' exercises
lab_answers  the checks of labs 1 to 7
lab_trials   the checks of labs 8 to 15, which try out what was written
labs         a lab's check, and a run to work on
guess        a question before the cell that answers it
first_look   the message box, rows and settings of the first look
progress     how far a participant is, from the run directory
board        the class on one page
marks        class.csv for Moodle, Canvas and nbgrader
"""
