"""The words that networks, data and evaluation of the scalp's conditions share."""

CONDITIONS = ("dandruff", "sebum", "erythema")
GRADES = 4
MAP_STRIDE = 16  # px to a cell of the maps of flakes and shine
UNKNOWN = -1.0  # in such a map, where nobody can say
