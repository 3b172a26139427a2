"""How far the numbers can be trusted: measured on rendered frames, whose truth is exact. A subject a file: matching hairs, accuracy,
the same field twice, time; and the table of it all.
"""
