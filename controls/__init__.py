"""Features of known truth, to be labelled blind: what a score is worth shows on them.

text.py        a corpus, or the quiet pool of a harvest
passages.py    real text, as arrays over all its words
truths.py      what makes a planted feature fire: a rule, in words, and as a label
frequencies.py how often words occur, where, and beside what
choosing.py    which rules there are to plant on a text, kind by kind
wrong.py       labels that are wrong in a known way
planting.py    from a rule to activations with noise; features for which no label can be right
subjects.py    the same from a real model: random directions, random weights
suite.py       all of it as one evidence file
"""
