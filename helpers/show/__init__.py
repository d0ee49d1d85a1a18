"""What a reader sees: words, units, tables, pictures, pages, progress, and the notebook that shows them."""
