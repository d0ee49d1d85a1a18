"""Notebook 03: rows in any format become conversations, and conversations become tokens with labels.

start        which revisions are there?
hub          rows and sizes of a data set of the hub
sources      the rows of a file, a folder, a hub data set, or several with weights
parts        train, validation, test: by the names of files and folders, or as README.md has them
folders      which files of a folder are read, and what is left
encodings    which characters the bytes of a file are
separated    rows of CSV and TSV
readers      rows of JSON and Parquet, with notes of what was guessed
columns      which columns are read, as what, and which are not
formats      which columns hold the conversation; any row becomes messages, by
role_tokens  the text format of open-korean-instructions
adapters     one function a format
turns        turns, tool calls and tools as any data set spells them
values       is a value missing, a text, a number, structure as text, or a null of a table?
normalise    a valid conversation, or Unusable
reasons      why a row cannot be used, and what was mended
leftovers    what exports leave in texts
tally        rows that were dropped or mended, counted by reason and source; marks that take away whole answers
copies       when is one conversation a copy of another?
split        which conversations belong together, which are held out, and which were taken out by hand
rehearsal    general conversations for the training part, and the rows of the run whose adapter it begins from
report       data_report.json, from what was counted
reading      rows -> usable conversations, each once
prepare      conversations -> data/train.jsonl, data/eval.jsonl and a report of what was dropped
labels       messages -> token ids and labels; 04 trains on these
limits       every check by its name: its limit, and what to do
checks       how one row fails a check
verdicts     what is wrong with the labels, for the whole set
costs        what the tokenizer makes of this language, and what max_length costs
xray         the tokens and labels of single rows, to look at
"""
