"""Notebook 00: will it fit, how long does it take, what does it cost?

shape       the numbers of a model that decide its memory
memory      the closed form: every term of a training step
life        the life of every piece of memory
step        one QLoRA step on tensors without numbers
simulation  the same step on fake tensors, counted
cards       what can be rented, and your prices
need        simulation or sum, with allowances, and the device
fit         does it fit, and what to change when it does not
moments     every other moment of the run, and the disk
speeds      speeds that others published
time        tokens to train, hours
rehearsal   the whole series in small, on this machine
published   memory that others measured, beside the plan
view        tables
charts      bars and sliders
"""
