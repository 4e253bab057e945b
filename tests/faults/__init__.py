"""Faults drawn at random, on real components: what nobody thought of combining.

    schedules   what a seed draws: which fault, where, when, for how long; pure
    stage       the components of one schedule, and how each fault is done to them
    running     one schedule from its start to the judgement; the oracle knows what was accepted and what is stored
    exploring   as many schedules as one likes, from the command line

The simulation tries thousands of schedules a minute with the real engine; these are few, but nothing in
them is a model.
"""
