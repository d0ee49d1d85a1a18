"""The model that everything is made from: where it comes from, how it is loaded in 4 bits, how it is asked.

source        a model id becomes a folder or a hub id; revisions; the demo model and the tiny one, made once
hub           who this run is on the hub, and what it needs from it
shapes        config.json without the weights
anatomy       what a model is made of, counted without its weights
room          how many rows fit into the memory that is free
tiny          a Llama of 1.3 M parameters for the tests
quantization  4-bit loading, number formats, devices
unpacking     on a CPU: 4-bit weights unpacked once, not in every product
lora          the adapter: its config, its parameters, loaded back
chat          the tokenizer and its chat template; which tokens end a reply
shaping       how a template wants its messages: parts, thoughts, tool calls
thoughts      thought and answer apart in what a model wrote
spans         which characters of a rendered conversation the model has to write
trial         settings that cannot work on this model, tried without its weights
cards         which GPU is used, and who holds its memory
weights       the weight files, one weight at a time
"""
