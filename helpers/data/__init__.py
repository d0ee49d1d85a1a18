"""Notebook 03: rows in any format become conversations, and conversations become tokens with labels.

folders      which files of a folder are read, and what is left
readers      the rows of one file, with notes of what was guessed
sources      the rows of a file, a folder, a hub data set, or several with weights
fields       which columns are read, as what, and which are not
role_tokens  the text format of open-korean-instructions
turns        turns as any data set spells them become a valid conversation
formats      any row becomes messages
copies       when is one conversation a copy of another?
rehearsal    general conversations for the training part
tally        rows that were dropped or mended, counted by reason and source
prepare      rows -> data/train.jsonl, data/eval.jsonl and a report of what was dropped
labels       messages -> token ids and labels; 04 trains on these
verdicts     what is wrong with the labels, for the whole set
costs        what the tokenizer makes of this language, and what max_length costs
xray         the tokens and labels of single rows, to look at
"""
