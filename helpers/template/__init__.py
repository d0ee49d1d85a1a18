"""The chat template: how messages become one text, and which of its tokens are the answer's.

capabilities  how a template wants its messages: parts, thoughts, tool calls
thoughts      thought and answer apart in what a model wrote
spans         which characters of a rendered conversation the model has to write
chat          a conversation rendered, asked for its next reply, and what ends a reply
"""
