"""Notebook 06: base, adapter and merged model, compared in a way that cannot fool you.

prompts      the fixed questions
generation   replies, cut by token ids
replies      numbers about replies
skills       what the project's own data sets teach, checked
held_out     NLL, KL and agreement on held-out conversations
intervals    how much a number would move with other conversations
measured     one measured model in a line
forgetting   what was lost on general text
comparison   the models side by side; is it better?
chart        the same as a picture
voting       the blind vote
harness      lm-evaluation-harness, where it is installed
page         report.html, and the archive of what is worth keeping
"""
