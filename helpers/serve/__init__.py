"""Notebook 07: the merged model in other programs, and whether it is still the same there.

chat       a question of your own, and the reply as it is written
gguf       the files: made, their token ids checked, and only then named
converter  llama.cpp's converter, in a process of its own
llama_cpp  a file in llama.cpp itself: token ids, logits, replies
parity     the same held-out rows for each file; what it costs
modelfile  Ollama's Modelfile, with the chat template as it was trained
commands   vLLM's and Ollama's command lines
"""
