"""Notebook 04: a QLoRA training that resumes exactly and stops with a reason.

arguments    the keywords of the SFTConfig, and does a page train with them?
packing      how many packed rows at once, and do they stay apart in this model?
loss         summed, row by row, and is it the model's own?
trainer      `SFTTrainer` with a float32 adapter, a lean loss and an exact resume
checkpoints  which checkpoint is complete
guards       what stops a training before it does harm
start        an adapter that a training begins from, measured before and after
failures     what ends a training from outside, in a sentence
curve        what the two losses say, and how much of the adapter moved
best         which checkpoint is used; held_out.json
metrics      metrics.jsonl
chart        the live chart, and replies while training
callbacks    these in their order, and what saves, stops and trains the merge in 4 bits
probe        which learning rate? a range test
rate         what the test says about it, and a rule of thumb
further      what A2 and A5 share: their run trains, goes on and is saved in one way
preferences  A2: pairs, the run that they make, and what may judge it
dpo          A2: `DPOTrainer` that begins exactly at its reference
reward       A5: `GRPOTrainer` whose reward is your own checks
launch       the notebook as a process of its own
"""
