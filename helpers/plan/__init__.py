"""Notebook 00: will it fit, how long does it take, what does it cost?

memory      the closed form: every term of the memory, on the GPU and on disk
simulation  the same step on fake tensors, counted
fit         does it fit, and what to change when it does not
time        speeds that others published, tokens to train, hours
rehearsal   the whole series in small, on this machine
published   memory that others measured, beside the plan
view        tables, bars and sliders
"""
