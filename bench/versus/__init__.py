"""This program beside other tools: the same home, the same days, the same ways back; see :mod:`bench.versus.race`."""
