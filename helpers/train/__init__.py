"""Notebook 04: a QLoRA training that resumes exactly and stops with a reason.

arguments    the keywords of the SFTConfig, and does a page train with them?
packing      how many packed rows at once, and do they stay apart in this model?
loss         is the loss that is trained the model's own?
trainer      `SFTTrainer` with a lean loss and an exact resume
guards       what stops a training before it does harm
checkpoints  which checkpoint is complete
probe        which learning rate?
preferences  A2: pairs, the run that they make, and what may judge it
best         which checkpoint is used, and is the model overfitting?
metrics      metrics.jsonl
chart        the live chart, and replies while training
callbacks    all of these, in the order in which they act
failures     what ends a training from outside, in a sentence
launch       the notebook as a process of its own
"""
