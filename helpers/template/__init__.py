"""The chat template: how messages become one text, and which of its tokens are the answer's.

sandbox       a stranger's template, run once in a process with limits before anything else runs it
capabilities  how a template wants its messages: parts, thoughts, tool calls; which thoughts are learned
asking        answers of a template without marks: its own text with marks, laid over the conversation's; what ends one
spans         which characters of a rendered conversation the model has to write: marked by the template, by TRL, or
asked
thoughts      thought and answer of what a model wrote, parsed
chat          a conversation rendered, asked for its next reply, and what ends a reply
"""
