"""Notebook 07: the merged model in other programs, and whether it is still the same there.

chat        a question of your own, and the reply as it is written
conversion  llama.cpp's converters, called without secrets and without code of the model
converter   what runs in that process
llama_cpp   a file in llama.cpp itself: token ids, logits, replies
checks      the same token ids, stops and logits, or no name
gguf        the files: made, checked, and only then named
server      llama.cpp's own server, asked over HTTP
parity      the same held-out rows for each file; what it costs
modelfile   Ollama's Modelfile, with the chat template as it was trained
commands    the command lines of llama-server, Ollama and vLLM
share       base and fine-tuned model in a web page, by llama.cpp in WebAssembly
"""
