"""Pages about the project that are made by its code, each by one command.

drawings      the pictures in the notebooks   python -m docs.drawings
glossary.md   the words, in English and Korean
korean.md     tokens, models, data and prices for Korean users
data          what the calendar data are made of  python -m docs.data.make_calendar
make_gallery  the executed demo as web pages  python -m docs.make_gallery RUN
make_further  appendices and labs as web pages  python -m docs.make_further
gallery_index  the first of these pages       python -m docs.gallery_index
figures       the demo's numbers in the pages   python -m docs.figures
translation   does it say what the English says?  python -m helpers.translate check
"""
