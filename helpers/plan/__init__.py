"""Notebook 00: will it fit, how long does it take, what does it cost?

Three answers, from quick to sure: the sum (memory), the same step on tensors without numbers (simulation), and three
real steps on this machine (rehearsal).

shape       the numbers of a model that decide its memory
cards       what can be rented (cards.json), and your prices
parts       what is there all the time: weights, adapter, optimizer state
memory      the sum: every term of a training step
tracker     the life of every piece of memory
skeleton    a model as QLoRA trains it, without numbers
fake_step   one step of it
simulation  the same for a few layers of each kind, counted
obstacles   what stands between the plan and a training
need        simulation or sum, with allowances, and the device
changes     what to change when it does not fit
fit         the answer in words, also after it ran out of memory
phases      every other phase of the run, and the disk
time        tokens to train, hours, by speeds that others published (speeds.json)
rehearsal   the whole series in small, on this machine
published   memory that others measured (published.json), beside the plan
view        tables
charts      bars and sliders
"""
