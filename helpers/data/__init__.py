"""Notebook 03: rows in any format become conversations, and conversations become tokens with labels.

start        which revisions are there, and does the tokenizer fit the model?
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
turns        turns as any data set spells them
tools        tool calls and schemas, without the nulls of a table
values       is a value missing, a text, a number, or structure as text?
normalise    a valid conversation, or Unusable
reasons      why a row cannot be used, and what was mended
leftovers    what exports leave in texts
marks        does a column of marks take away whole answers?
tally        rows that were dropped or mended, counted by reason and source
copies       when is one conversation a copy of another?
split        which conversations belong together, and which are held out
earlier      rows of the run whose adapter a training begins from
left_out     rows that somebody took out by hand
rehearsal    general conversations for the training part
report       data_report.json, from what was counted
prepare      rows -> data/train.jsonl, data/eval.jsonl and a report of what was dropped
labels       messages -> token ids and labels; 04 trains on these
limits       every check by its name: its limit, and what to do
checks       how one row fails a check
verdicts     what is wrong with the labels, for the whole set
costs        what the tokenizer makes of this language, and what max_length costs
again        all of it without the page
xray         the tokens and labels of single rows, to look at
"""
