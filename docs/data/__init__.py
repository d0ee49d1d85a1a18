"""What the sample data in notebooks/data are made of, and the program that makes them."""
