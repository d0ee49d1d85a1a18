"""What a reader sees, in the reader's language; whatever comes from strangers is escaped.

words     sentences and headings in the language of QLORA_LANG
units     bytes and seconds as people write them
verdict   green, amber, unclear, too few, red
tables    rows as a table, and what a check says
pictures  charts in one style, with words for those who cannot see them
pages     whole pages out of Jinja2 templates
progress  one line that is replaced in place
notebook  a kernel made ready for a reader
clicks    what a click could not do, said beside it
"""
