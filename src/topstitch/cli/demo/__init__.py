"""The demo: five hires through the onboarding, against simulated systems, on a clock that does not dawdle.

``cast`` says who is hired and what goes wrong, ``script`` carries it out in the systems, ``pace`` moves the clock,
``story`` tells, ``people`` answers where nobody sits at a terminal, ``proof`` compares the systems with the story, and
``command`` puts it all together.
"""
