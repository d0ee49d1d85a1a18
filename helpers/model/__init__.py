"""The model that everything is made from: where it comes from, how it is loaded in 4 bits, what is trained beside it.

refusal       why a model, a setting or an adapter cannot be used
source        a model id becomes a folder or a hub id; revisions; the demo model and the tiny one, made once
hub           who this run is on the hub, and what it needs from it
demo          SmolLM2 of 135 M parameters, converted from a package
tiny          a Llama of 1.3 M parameters for the tests
shapes        config.json without the weights; those of common models (shapes.json)
meta          the library's own model without its weights
anatomy       what a model is made of, counted without its weights
tokenizer     the run's tokenizer, with a chat template and a pad token
device        GPU or CPU, number formats, attention; several processes agree on a value
cores         on a CPU: batches side by side, each on one core
memory        what is free, in a container too; who holds a GPU
rows          how many rows fit into the memory that is free
quantise      the 4-bit config, a weight through 4 bits, bases that are quantised already
unpacking     on a CPU: 4-bit weights unpacked once, not in every product
load          the base model loaded, and what a load may not pass over
adapter       what an adapter's own files say, before any model is loaded
branch        on a CPU, a layer and its LoRA branch as one function
head          a head at the positions that are asked for alone
requantised   a layer that computes with its merge in 4 bits
lora          the adapter: its config, its parameters, loaded back
elsewhere     an adapter of another run or another program, to begin from
weights       the weight files, one weight at a time
generation    what a base asks of every reply
possible      settings that cannot work on this model, tried without its weights
"""
