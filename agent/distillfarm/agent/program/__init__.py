"""The program that one launch runs in a fresh process: loads one model and times it.

It imports NumPy, one runtime and a few light standard modules, so that its cold start and its
memory are the runtime's and the model's. It is started as ``python -I -m
distillfarm.agent.program`` with an ``Order`` and answers in JSON lines, see ``reports``.
"""
