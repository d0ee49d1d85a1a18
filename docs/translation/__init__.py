"""Does a translation say what the English says? For authors.

review     every block and every line of the catalogue: missing, stale, unsigned, or something else
drift      two texts: shape, numbers, sentences, links, opposites
languages  what belongs to a language: numbers as it writes them, the tables of terms.md
"""
