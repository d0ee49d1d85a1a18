"""Exercises, labs and the class: answers that check themselves, and where everybody is."""
