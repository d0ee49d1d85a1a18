"""Notebook 06: base, adapter and merged model, compared in a way that cannot fool you.

prompts      the fixed questions
decoding     one decoder for every model
generation   replies, cut by token ids
held_out     NLL, KL and agreement on held-out conversations; the loss of a row, token by token
intervals    how much a number would move with other conversations
signs        few rows, counted one by one
counts       rows won and lost, model against model
quantisers   which 4 bits? the base rounded in each way
measured     one measured model in a line; what 05 measured is kept for 06
numbers      the models' numbers, those of their replies too; is it better?
chart        the same as a picture
forgetting   what was lost on general text
known        what was lost of forty known answers
checks       checks of your own
ready        ready-made ones
korean       ready-made ones of Korean: 해요체, 조사, spelling
passed       what passed, as tables
comparison   the replies side by side
evaluation   evaluation.json
served       served.json, which 07 writes
voting       the blind vote
harness      lm-evaluation-harness, where it is installed
page         report.html, and the archive of what is worth keeping
rivals       other seeds of a run, and another run beside it
power        how small an effect would have been seen, and what would tell
facts        what the gate weighs, and how it is judged
gate         may this model be used? An exit code
"""
