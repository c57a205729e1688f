"""What is said of a run once it is over: planted features held against their truth, as figures and as a page.

judged.py        what became of each control: accepted, and right?
contrast.py      right and wrong labels through the job's scorers
evaluation.py    rates, intervals, AUROC, reliability
controls_run.py  a run over the suite, from text to evaluation
mixed.py         the planted features among those of another job
figures.py, page.py   one self-contained page
"""
