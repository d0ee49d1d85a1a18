"""Notebook 07: the merged model in other programs.

modelfile  Ollama's Modelfile, with the chat template as it was trained
"""
