"""Notebook 05: the adapter goes into the weights, is measured there, and is pushed when you ask for it.

delta      what the adapter changes, read from its file
skeleton   the base model without its weights
folder     where the merges lie, and what a folder needs beside its weights
in_memory  peft's own merge, for what cannot be merged weight by weight
shards     the merge, one weight file at a time
report     the merge report: what each way of merging did to this model
licences   what may be done with model and data
gate       what a push sends, what it replaces, and what speaks against it
card_numbers  what was measured, as Markdown
card       the model card
push       to the hub, and read back
"""
