"""What a run shows, on one page: what was decided beforehand, what came of it, and what did not.

chosen.py      which run, and everything about it that is one row
questions.py   the questions to the public views, in SQL, asked in one read
coverage.py    the share of what fires in the quiet pool that accepted labels hold
layers.py      the other harvests of the workspace
reliability.py confidence before and after its map
examples.py    the best, some random and the worst labels, with excerpts
facts.py       all of that, collected: what the page, the terminal and `--json` are made from
findings.py    what follows from it, in sentences; null results too
sections.py, sections_*.py   the page's sections: a sentence on how to read it, tables, or what is missing
figures.py, figures_scores.py, drawing.py   plots of some of the tables
page.py        the page, in one file
"""
