"""The status page: what it is made of, what it shows, and how that reaches those who look.

Here belong the files of the page, the overview that it shows, and its way to the browsers. What the overview is made of
comes from the engine and from the other views; nothing here keeps a state of its own, and nothing runs while nobody
looks.
"""
