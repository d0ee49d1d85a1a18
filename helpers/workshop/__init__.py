"""Exercises, labs and the class: answers that check themselves, and where everybody is.

exercises  "Try it" of every notebook: `check` looks at what lies on the disk and says what is missing, or that it is solved
"""
