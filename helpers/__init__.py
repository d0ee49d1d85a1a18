"""Helpers for the notebooks: a folder for each notebook, one idea per module, heavy imports only where they are used.

workshop · machine · compare      labs and the class · 01, 02 · 08
plan                              00         ↓ a module imports from its own floor's folder or from floors below
merge · serve                     05 · 07
train                             04
evaluate · data                   06 · 03
model                             the base model: tokenizer, device, quantisation, LoRA, weights
template                          the chat template: what it takes, what it shows, which tokens are the answer's
runs · series · translate         the run directory and its forks; another language
settings                          every setting, and the rules that it owns
show                              tables, pictures, pages, progress, words
paths · files                     where things lie, and files that are never half there
"""
