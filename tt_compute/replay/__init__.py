"""The replay lab: strategies over samples that were recorded before, and the recording of them.

``recording`` is the file, ``generation`` puts it behind the protocol that strategies draw from, ``answers`` says
which recorded answers are equal and right, ``play`` runs a strategy over all questions, ``figures`` turns the
runs into means, ``lab`` puts the baselines beside them, ``sweep`` compares many settings, ``fit`` makes an ability
for the planner, ``record`` and ``questions`` make new files.
"""
